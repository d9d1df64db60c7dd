#include "dataplane/wireguard/allowed_ips.h"

#include <algorithm>
#include <bit>

namespace sluice::wireguard {

namespace {

unsigned leading_zeros(uint32_t bits) {
    return static_cast<unsigned>(std::countl_zero(bits));
}
unsigned leading_zeros(Bits128 bits) {
    const auto high = static_cast<uint64_t>(bits >> 64);
    if (high != 0) return static_cast<unsigned>(std::countl_zero(high));
    return 64 + static_cast<unsigned>(std::countl_zero(static_cast<uint64_t>(bits)));
}

uint32_t v4_bits(const uint8_t* address) {
    return load_be32(address);
}
Bits128 v6_bits(const uint8_t* address) {
    return Bits128{load_be64(address)} << 64 | load_be64(address + 8);
}

}  // namespace

template <typename Bits>
Bits PrefixTrie<Bits>::masked(Bits address, unsigned length) {
    // Shifting by all bits is undefined, hence the case apart.
    return length == 0 ? Bits{0} : address & (~Bits{0} << (kBits - length));
}

template <typename Bits>
unsigned PrefixTrie<Bits>::bit_at(Bits address, unsigned position) {
    return static_cast<unsigned>(address >> (kBits - 1 - position)) & 1;
}

template <typename Bits>
unsigned PrefixTrie<Bits>::common_length(Bits a, Bits b) {
    return leading_zeros(static_cast<Bits>(a ^ b));
}

template <typename Bits>
uint32_t PrefixTrie<Bits>::add_node(Bits address, unsigned length, PeerId peer) {
    nodes_.push_back(
        {.address = masked(address, length), .length = static_cast<uint8_t>(length), .peer = peer});
    return static_cast<uint32_t>(nodes_.size() - 1);
}

template <typename Bits>
void PrefixTrie<Bits>::insert(Bits address, unsigned length, PeerId peer) {
    address = masked(address, length);
    // Down to where the new prefix leaves the path: `at` is the first node that does not contain
    // it.
    uint32_t parent = kNone;
    uint32_t at = root_;
    while (at != kNone && nodes_[at].length <= length &&
           common_length(nodes_[at].address, address) >= nodes_[at].length) {
        if (nodes_[at].length == length) {
            nodes_[at].peer = peer;
            return;
        }
        parent = at;
        at = nodes_[at].child[bit_at(address, nodes_[at].length)];
    }
    uint32_t top = add_node(address, length, peer);
    if (at != kNone) {
        const unsigned common = common_length(nodes_[at].address, address);
        if (common >= length) {
            // The new prefix contains what was there.
            nodes_[top].child[bit_at(nodes_[at].address, length)] = at;
        } else {
            // Both hang below a new branching.
            const uint32_t branch = add_node(address, common, kNoPeer);
            nodes_[branch].child[bit_at(address, common)] = top;
            nodes_[branch].child[bit_at(nodes_[at].address, common)] = at;
            top = branch;
        }
    }
    (parent == kNone ? root_ : nodes_[parent].child[bit_at(address, nodes_[parent].length)]) = top;
}

template <typename Bits>
PeerId PrefixTrie<Bits>::find(Bits address) const {
    PeerId best = kNoPeer;
    for (uint32_t at = root_; at != kNone;) {
        const Node& node = nodes_[at];
        if (common_length(node.address, address) < node.length) break;
        if (node.peer != kNoPeer) best = node.peer;
        if (node.length == kBits) break;
        at = node.child[bit_at(address, node.length)];
    }
    return best;
}

template class PrefixTrie<uint32_t>;
template class PrefixTrie<Bits128>;

void AllowedIps::insert(const IpPrefix& prefix, PeerId peer) {
    const unsigned length = std::min<unsigned>(prefix.length, prefix.address.bits());
    if (prefix.address.is_v4()) v4_.insert(v4_bits(prefix.address.bytes.data()), length, peer);
    if (prefix.address.is_v6()) v6_.insert(v6_bits(prefix.address.bytes.data()), length, peer);
}

PeerId AllowedIps::find(Bytes address) const {
    if (address.size() == 4) return v4_.find(v4_bits(address.data()));
    if (address.size() == 16) return v6_.find(v6_bits(address.data()));
    return kNoPeer;
}

void AllowedIps::reserve(size_t v4_prefixes, size_t v6_prefixes) {
    v4_.reserve(v4_prefixes);
    v6_.reserve(v6_prefixes);
}

}  // namespace sluice::wireguard
