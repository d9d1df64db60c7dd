// How much one source may take: so many in so much time (PaceTable), and so many at one time
// (CountTable). One object of each for the whole node, because the kernel spreads one source's
// connections over all workers, and limits that each worker kept for itself would be as many times
// as high as there are cores, or not, as chance has it.
//
// Sharing is cheap here: a decision reads one cache line and writes it with one compare-and-swap,
// and it is taken once for a connection or a request of a limited route, not for each packet. Two
// workers only meet in a line when the same source is served by both. No locks, so no worker waits
// for another one.
//
// Sources are found by a hash with a key that nobody outside knows, so nobody can choose addresses
// that fall into one line. A line holds eight sources; in the rare case of a ninth, PaceTable
// forgets the one that owes least, and CountTable lets it in uncounted. Two sources of one line
// share an entry when 16 bits of their hashes agree: about once in eight thousand full lines.
//
// Thread: any. Memory: 512 KiB each, for 65,536 sources at once; made by the constructor.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "dataplane/base/ip.h"
#include "dataplane/base/random.h"
#include "dataplane/base/time.h"

namespace sluice {

// SipHash-2-4 (Aumasson and Bernstein, 2012).
class SourceHash {
  public:
    explicit SourceHash(Random& random);
    explicit SourceHash(std::array<uint64_t, 2> key) : key_(key) {}

    uint64_t of(Bytes bytes) const;
    // Of an address for some purpose. Of IPv6 the first 64 bits count, because whoever has one
    // address there has them all. No address: one for everybody.
    uint64_t of(const IpAddress& address, uint64_t purpose) const;

  private:
    std::array<uint64_t, 2> key_;
};

namespace source_limits {

inline constexpr size_t kSlots = 8;
inline constexpr size_t kLines = 8192;
// 16 bits of the source's hash above 48 bits of value; 0: nobody's.
struct alignas(64) Line {
    std::array<std::atomic<uint64_t>, kSlots> slots{};
};

}  // namespace source_limits

// The generic cell rate algorithm (ITU-T I.371, annex A): what is kept of a source is the moment at
// which all it has taken would have come at the even pace.
struct Pace {
    Duration interval{};   // between two, if they come evenly; at least 1 µs
    Duration tolerance{};  // how much earlier than evenly one may come: (burst - 1) × interval

    // `requests` and `burst` of at least 1.
    static Pace of(uint32_t requests, Duration per, uint32_t burst);
};

class PaceTable {
  public:
    PaceTable();

    // Takes one if that is allowed now, and then gives 0. Otherwise nothing is taken, and the
    // result is how long from now until one would be.
    Duration take(uint64_t source, const Pace& pace, Instant now);

  private:
    std::unique_ptr<source_limits::Line[]> lines_;
};

class CountTable {
  public:
    CountTable();

    // One of those that are counted, for as long as it lives. The table outlives it.
    class Place {
      public:
        Place() = default;
        Place(Place&& other) noexcept;
        Place& operator=(Place&& other) noexcept;
        ~Place() { leave(); }

        bool taken() const { return taken_; }

      private:
        friend class CountTable;
        void leave();

        std::atomic<uint64_t>* slot_ = nullptr;  // null: not counted
        bool taken_ = false;
    };
    // Not taken() if `most` are there already. 0: no limit, and nothing is counted.
    Place enter(uint64_t source, uint32_t most);

  private:
    std::unique_ptr<source_limits::Line[]> lines_;
};

// What all workers of a node share of it.
struct SourceLimits {
    explicit SourceLimits(Random& random) : hash(random) {}

    SourceHash hash;
    PaceTable paces;
    CountTable connections;
};

}  // namespace sluice
