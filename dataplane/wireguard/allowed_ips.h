// Cryptokey routing: which peer an inner address belongs to, by longest prefix. One compressed
// binary trie per family (each node skips the bits that all below it share), as in Linux: a lookup
// visits at most one node per branching, whatever the prefixes' lengths.
// Thread: one. Memory: only insert() allocates. An IPv4-mapped IPv6 address is IPv6 here.
#pragma once

#include <cstdint>
#include <vector>

#include "dataplane/base/bytes.h"
#include "dataplane/base/ip.h"
#include "dataplane/wireguard/device.h"

namespace sluice::wireguard {

// __extension__: standard C++ has no 128-bit integer.
__extension__ using Bits128 = unsigned __int128;

template <typename Bits>
class PrefixTrie {
  public:
    static constexpr unsigned kBits = sizeof(Bits) * 8;

    void insert(Bits address, unsigned length, PeerId peer);
    PeerId find(Bits address) const;
    void reserve(size_t prefixes) { nodes_.reserve(2 * prefixes); }
    size_t node_count() const { return nodes_.size(); }

  private:
    static constexpr uint32_t kNone = UINT32_MAX;
    struct Node {
        Bits address;  // bits behind `length` are zero
        uint8_t length;
        PeerId peer;  // kNoPeer: the node only branches
        uint32_t child[2] = {kNone, kNone};
    };

    static Bits masked(Bits address, unsigned length);
    static unsigned bit_at(Bits address, unsigned position);
    static unsigned common_length(Bits a, Bits b);
    uint32_t add_node(Bits address, unsigned length, PeerId peer);

    uint32_t root_ = kNone;
    std::vector<Node> nodes_;
};

extern template class PrefixTrie<uint32_t>;
extern template class PrefixTrie<Bits128>;

class AllowedIps {
  public:
    // A prefix belongs to one peer: the last one it was given to. Host bits are ignored.
    void insert(const IpPrefix& prefix, PeerId peer);
    // `address` has 4 or 16 bytes. kNoPeer: nobody's.
    PeerId find(Bytes address) const;
    void reserve(size_t v4_prefixes, size_t v6_prefixes);

  private:
    PrefixTrie<uint32_t> v4_;
    PrefixTrie<Bits128> v6_;
};

}  // namespace sluice::wireguard
