// Cryptokey routing: which peer an inner address belongs to, by longest prefix.
//
// Prefixes only contain each other or are apart, so together they cut the addresses of a family
// into ranges that each belong to one peer or to nobody: at most two ranges for each prefix. The
// ranges' starts lie in a search tree without pointers, in blocks that are compared all at once. A
// lookup reads one block for each level, which with a million prefixes is 6 (IPv4) or 7 (IPv6), and
// how long the prefixes are or how they lie in each other does not matter. A compressed trie, as
// Linux has, reads more than twenty nodes that are each somewhere else in memory.
//
// Thread: filled by one, then only read, by any. Memory: at most 17 bytes a prefix (IPv4) or 44
// (IPv6), and three times that until finish() returns. An IPv4-mapped IPv6 address is IPv6 here.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "dataplane/base/bytes.h"
#include "dataplane/base/ip.h"
#include "dataplane/wireguard/device.h"

namespace sluice::wireguard {

// __extension__: standard C++ has no 128-bit integer.
__extension__ using Bits128 = unsigned __int128;

template <typename Bits>
class RangeTable {
  public:
    static constexpr unsigned kBits = sizeof(Bits) * 8;
    struct Prefix {
        Bits address;  // bits behind `length` are zero
        uint8_t length;
        PeerId peer;
    };

    // The later of two equal prefixes counts.
    void build(std::vector<Prefix> prefixes);
    PeerId find(Bits address) const;

  private:
    // One cache line of IPv4 addresses, two of IPv6.
    static constexpr size_t kFanout = sizeof(Bits) == 4 ? 16 : 8;
    struct alignas(64) Block {
        std::array<Bits, kFanout> starts;
    };
    // Keys of one level stand in consecutive blocks. The first key of each block is a key of the
    // level above.
    struct Level {
        size_t first_block = 0;
        size_t last_key = 0;
    };
    // 2^32 ranges, which are more than there may be peers.
    static constexpr size_t kLevelsMax = 11;

    void lay_out(const std::vector<Bits>& starts);

    std::vector<Block> blocks_;  // the root's level first
    std::array<Level, kLevelsMax> levels_{};
    size_t level_count_ = 0;
    std::vector<PeerId> peers_{kNoPeer};  // of each range
};

extern template class RangeTable<uint32_t>;
extern template class RangeTable<Bits128>;

class AllowedIps {
  public:
    void reserve(size_t v4_prefixes, size_t v6_prefixes);
    // A prefix belongs to one peer: the last one it was given to. Host bits are ignored. What is
    // inserted is found after finish().
    void insert(const IpPrefix& prefix, PeerId peer);
    // Once, when all are in.
    void finish();
    bool finished() const { return finished_; }

    // `address` has 4 or 16 bytes. kNoPeer: nobody's.
    PeerId find(Bytes address) const;

  private:
    RangeTable<uint32_t> v4_;
    RangeTable<Bits128> v6_;
    std::vector<RangeTable<uint32_t>::Prefix> v4_prefixes_;
    std::vector<RangeTable<Bits128>::Prefix> v6_prefixes_;
    bool finished_ = false;
};

}  // namespace sluice::wireguard
