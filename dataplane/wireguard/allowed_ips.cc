#include "dataplane/wireguard/allowed_ips.h"

#include <algorithm>
#include <utility>

#include "dataplane/base/check.h"

namespace sluice::wireguard {

namespace {

uint32_t v4_bits(const uint8_t* address) {
    return load_be32(address);
}
Bits128 v6_bits(const uint8_t* address) {
    return Bits128{load_be64(address)} << 64 | load_be64(address + 8);
}

// The bits that a prefix of this length leaves open.
template <typename Bits>
Bits host_bits(unsigned length) {
    // Shifting by all bits is undefined, hence the case apart.
    return length == sizeof(Bits) * 8 ? Bits{0} : static_cast<Bits>(~Bits{0} >> length);
}

// The ranges that a family's prefixes make, in order of their starts.
template <typename Bits>
class Ranges {
  public:
    using Prefix = typename RangeTable<Bits>::Prefix;

    explicit Ranges(size_t prefixes) {
        starts.reserve(2 * prefixes + 1);
        peers.reserve(2 * prefixes + 1);
        begin(0, kNoPeer);
    }

    // Prefixes come sorted by address, and by length if that is the same: each after all that
    // contain it.
    void add(const Prefix& prefix) {
        while (open_count_ > 0 && open_[open_count_ - 1].last < prefix.address)
            close();
        begin(prefix.address, prefix.peer);
        open_[open_count_++] = {
            .last = static_cast<Bits>(prefix.address | host_bits<Bits>(prefix.length)),
            .peer = prefix.peer};
    }

    void finish() {
        while (open_count_ > 0)
            close();
        merge();
    }

    std::vector<Bits> starts;
    std::vector<PeerId> peers;

  private:
    struct Open {
        Bits last;
        PeerId peer;
    };

    // Where a prefix ends, the one around it goes on.
    void close() {
        const Bits last = open_[--open_count_].last;
        if (last == static_cast<Bits>(~Bits{0})) return;
        begin(static_cast<Bits>(last + 1), open_count_ > 0 ? open_[open_count_ - 1].peer : kNoPeer);
    }

    void begin(Bits start, PeerId peer) {
        if (!starts.empty() && starts.back() == start) {
            peers.back() = peer;
            return;
        }
        starts.push_back(start);
        peers.push_back(peer);
    }

    // Neighbours of one peer are one range.
    void merge() {
        size_t kept = 0;
        for (size_t i = 1; i < starts.size(); ++i) {
            if (peers[i] == peers[kept]) continue;
            ++kept;
            starts[kept] = starts[i];
            peers[kept] = peers[i];
        }
        starts.resize(kept + 1);
        peers.resize(kept + 1);
    }

    // Those that contain the place where we are, the widest first.
    std::array<Open, sizeof(Bits) * 8 + 1> open_;
    size_t open_count_ = 0;
};

}  // namespace

template <typename Bits>
void RangeTable<Bits>::build(std::vector<Prefix> prefixes) {
    std::ranges::stable_sort(prefixes, [](const Prefix& a, const Prefix& b) {
        return a.address != b.address ? a.address < b.address : a.length < b.length;
    });
    Ranges<Bits> ranges(prefixes.size());
    for (size_t i = 0; i < prefixes.size(); ++i) {
        const Prefix& prefix = prefixes[i];
        const bool given_again = i + 1 < prefixes.size() &&
                                 prefixes[i + 1].address == prefix.address &&
                                 prefixes[i + 1].length == prefix.length;
        if (!given_again) ranges.add(prefix);
    }
    ranges.finish();
    peers_ = std::move(ranges.peers);
    peers_.shrink_to_fit();
    lay_out(ranges.starts);
}

template <typename Bits>
void RangeTable<Bits>::lay_out(const std::vector<Bits>& starts) {
    // From the ranges up: every block's first key.
    std::vector<std::vector<Bits>> levels{starts};
    while (levels.back().size() > kFanout) {
        const std::vector<Bits>& below = levels.back();
        std::vector<Bits> level;
        for (size_t i = 0; i < below.size(); i += kFanout)
            level.push_back(below[i]);
        levels.push_back(std::move(level));
    }
    SLUICE_CHECK(levels.size() <= kLevelsMax);
    level_count_ = 0;
    blocks_.clear();
    size_t blocks = 0;
    for (const auto& keys : levels)
        blocks += (keys.size() + kFanout - 1) / kFanout;
    blocks_.reserve(blocks);
    for (auto keys = levels.rbegin(); keys != levels.rend(); ++keys) {
        levels_[level_count_++] = {.first_block = blocks_.size(), .last_key = keys->size() - 1};
        for (size_t i = 0; i < keys->size(); i += kFanout) {
            // What is left of the last block is as great as can be; find() does not go there.
            Block& block = blocks_.emplace_back();
            block.starts.fill(static_cast<Bits>(~Bits{0}));
            std::copy_n(keys->begin() + static_cast<std::ptrdiff_t>(i),
                        std::min(kFanout, keys->size() - i), block.starts.begin());
        }
    }
}

template <typename Bits>
PeerId RangeTable<Bits>::find(Bits address) const {
    size_t key = 0;
    for (size_t level = 0; level < level_count_; ++level) {
        const Block& block = blocks_[levels_[level].first_block + key];
        size_t not_after = 0;
        for (const Bits start : block.starts)
            not_after += start <= address ? 1 : 0;
        // The first key is never after the address: it is what the level above led here by.
        key = std::min(key * kFanout + not_after - 1, levels_[level].last_key);
    }
    return peers_[key];
}

template class RangeTable<uint32_t>;
template class RangeTable<Bits128>;

void AllowedIps::reserve(size_t v4_prefixes, size_t v6_prefixes) {
    v4_prefixes_.reserve(v4_prefixes);
    v6_prefixes_.reserve(v6_prefixes);
}

void AllowedIps::insert(const IpPrefix& prefix, PeerId peer) {
    SLUICE_CHECK(!finished_);
    const auto length =
        static_cast<uint8_t>(std::min<unsigned>(prefix.length, prefix.address.bits()));
    const uint8_t* bytes = prefix.address.bytes.data();
    if (prefix.address.is_v4()) {
        const uint32_t address = v4_bits(bytes) & ~host_bits<uint32_t>(length);
        v4_prefixes_.push_back({.address = address, .length = length, .peer = peer});
    } else if (prefix.address.is_v6()) {
        const Bits128 address = v6_bits(bytes) & ~host_bits<Bits128>(length);
        v6_prefixes_.push_back({.address = address, .length = length, .peer = peer});
    }
}

void AllowedIps::finish() {
    SLUICE_CHECK(!finished_);
    v4_.build(std::exchange(v4_prefixes_, {}));
    v6_.build(std::exchange(v6_prefixes_, {}));
    finished_ = true;
}

PeerId AllowedIps::find(Bytes address) const {
    if (address.size() == 4) return v4_.find(v4_bits(address.data()));
    if (address.size() == 16) return v6_.find(v6_bits(address.data()));
    return kNoPeer;
}

}  // namespace sluice::wireguard
