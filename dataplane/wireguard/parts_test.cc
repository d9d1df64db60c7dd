// The small parts of a device, each against a plain model of what it is for.
#include <catch2/catch.hpp>
#include <deque>
#include <map>
#include <set>

#include "dataplane/base/random.h"
#include "dataplane/wireguard/ecn.h"
#include "dataplane/wireguard/index_table.h"
#include "dataplane/wireguard/load_meter.h"
#include "dataplane/wireguard/rate_limiter.h"
#include "dataplane/wireguard/session.h"
#include "dataplane/wireguard/staged_packets.h"
#include "dataplane/wireguard/test_memory.h"
#include "dataplane/wireguard/timestamp.h"

namespace sluice::wireguard {

namespace {

constexpr Instant kStart{seconds(1000)};

// The table only keeps the pointer.
Peer* fake_peer(size_t number) {
    static std::array<uint64_t, 1001> places;
    return reinterpret_cast<Peer*>(&places[number]);
}

}  // namespace

TEST_CASE("index table: the same as a map, through growth, removal and collisions") {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
        SeededRandom random(seed);
        IndexTable table;
        std::map<uint32_t, Peer*> model;
        size_t room = 8;
        table.reserve(room);
        for (int i = 0; i < 4000; ++i) {
            // Few low bits, so that most entries are pushed from their place.
            const auto index = static_cast<uint32_t>(random.below(64) | random.below(4) << 20);
            if (i % 1000 == 999) table.reserve(room *= 4);
            if (random.below(2) == 0 && (model.contains(index) || model.size() < room)) {
                Peer* peer = fake_peer(1 + random.below(1000));
                table.set(index, peer, nullptr);
                model[index] = peer;
            } else {
                table.remove(index);
                model.erase(index);
            }
            REQUIRE(table.size() == model.size());
            const auto asked = static_cast<uint32_t>(random.below(64) | random.below(4) << 20);
            const auto* found = table.find(asked);
            REQUIRE((found != nullptr) == model.contains(asked));
            if (found != nullptr) REQUIRE(found->peer == model[asked]);
        }
        for (const auto& [index, peer] : model)
            REQUIRE(table.find(index)->peer == peer);
    }
}

TEST_CASE("staged packets: first in, first out, 128 a peer, the oldest goes") {
    StagedPackets store;
    store.reserve(2, 100);
    StagedQueue queue;
    for (uint8_t i = 0; i < 130; ++i) {
        const std::vector<uint8_t> packet(i % 100 + 1, i);
        CHECK(store.push(queue, packet) == (i < 128 ? 0 : 1));
    }
    CHECK(queue.count == 128);
    for (uint8_t i = 2; i < 130; ++i) {
        const Bytes packet = store.front(queue);
        REQUIRE(packet.size() == i % 100u + 1);
        REQUIRE(packet[0] == i);
        store.pop(queue);
    }
    CHECK(queue.count == 0);
}

TEST_CASE("staged packets: the store is bounded, and its oldest packet goes whoever's it is") {
    StagedPackets store;
    store.reserve(100'000, 1420);
    REQUIRE(store.capacity() * 1420 <= kStagedBytesMax);
    const size_t capacity = store.capacity();
    std::vector<StagedQueue> queues(capacity / 100 + 2);
    size_t pushed = 0;
    std::deque<std::pair<size_t, uint8_t>> model;
    for (auto& queue : queues) {
        for (int i = 0; i < 100; ++i, ++pushed) {
            const std::vector<uint8_t> packet(40, static_cast<uint8_t>(pushed));
            const size_t dropped = store.push(queue, packet);
            model.emplace_back(static_cast<size_t>(&queue - queues.data()),
                               static_cast<uint8_t>(pushed));
            REQUIRE(dropped == (pushed >= capacity ? 1 : 0));
            if (dropped == 1) model.pop_front();
        }
    }
    // What is left is what the model has, in each queue's order.
    for (const auto& [queue, tag] : model) {
        REQUIRE(store.front(queues[queue])[0] == tag);
        store.pop(queues[queue]);
    }
    for (const auto& queue : queues)
        CHECK(queue.count == 0);
}

TEST_CASE("staged packets: what waits survives a larger packet size and more peers") {
    StagedPackets store;
    store.reserve(1, 100);
    StagedQueue queue;
    store.push(queue, std::vector<uint8_t>(100, 1));
    store.push(queue, std::vector<uint8_t>(50, 2));
    store.reserve(3, 9000);
    store.push(queue, std::vector<uint8_t>(9000, 3));
    for (const auto& [size, tag] : {std::pair{100, 1}, std::pair{50, 2}, std::pair{9000, 3}}) {
        const Bytes packet = store.front(queue);
        CHECK(packet.size() == static_cast<size_t>(size));
        CHECK(packet.back() == tag);
        store.pop(queue);
    }
    CHECK(store.clear(queue) == 0);
}

TEST_CASE("a session ends by its age and by its messages, in both directions") {
    Session session;
    session.initiator = true;
    session.created = kStart;
    CHECK(session.can_send(kStart + kRejectAfterTime - Duration(1)));
    CHECK_FALSE(session.can_send(kStart + kRejectAfterTime));
    CHECK(session.can_receive(kStart + kRejectAfterTime - Duration(1), 0));
    CHECK_FALSE(session.can_receive(kStart + kRejectAfterTime, 0));
    // 2^64 - 2^13 - 1, as the paper has it.
    CHECK(session.can_receive(kStart, 0xffff'ffff'ffff'dffe));
    CHECK_FALSE(session.can_receive(kStart, 0xffff'ffff'ffff'dfff));
    CHECK_FALSE(session.can_receive(kStart, UINT64_MAX));
    session.send_counter = 0xffff'ffff'ffff'dffe;
    CHECK(session.can_send(kStart));
    ++session.send_counter;
    CHECK_FALSE(session.can_send(kStart));

    // Who replaces it: after messages either end, after time only its initiator.
    session.send_counter = uint64_t{1} << 60;
    CHECK_FALSE(session.is_old_for_sending(kStart));
    ++session.send_counter;
    CHECK(session.is_old_for_sending(kStart));
    session.initiator = false;
    CHECK(session.is_old_for_sending(kStart));
    session.send_counter = 0;
    CHECK_FALSE(session.is_old_for_sending(kStart + seconds(170)));
    CHECK_FALSE(session.is_old_for_receiving(kStart + seconds(170)));
    session.initiator = true;
    CHECK(session.is_old_for_sending(kStart + seconds(120)));
    CHECK_FALSE(session.is_old_for_receiving(kStart + seconds(165) - Duration(1)));
    CHECK(session.is_old_for_receiving(kStart + seconds(165)));
}

TEST_CASE("session pool: rooms are used again, and it grows only when told") {
    SessionPool pool;
    pool.reserve(3);
    std::vector<SessionOwner> sessions;
    sessions.reserve(3);
    for (int i = 0; i < 3; ++i)
        sessions.push_back(pool.take());
    const Session* second = sessions[1].get();
    sessions.erase(sessions.begin() + 1);
    CHECK(pool.in_use() == 2);
    SessionOwner again = pool.take();
    CHECK(again.get() == second);
    CHECK(again->send_counter == 0);
    CHECK_FALSE(again->send_key.is_set());
    pool.reserve(5);
    SessionOwner fourth = pool.take();
    SessionOwner fifth = pool.take();
    CHECK(pool.in_use() == 5);
}

TEST_CASE("session pool: room that was never used is no memory, also when it grows") {
    constexpr size_t kRooms = 100'000;
    const size_t before = resident_memory();
    SessionPool pool;
    for (size_t more = 0; more < 100; ++more)
        pool.reserve(kRooms + more);
    std::vector<SessionOwner> sessions;
    for (int i = 0; i < 100; ++i)
        sessions.push_back(pool.take());
    CHECK(pool.in_use() == 100);
    // All rooms would be 110 MB.
    if (kResidentMemoryMeansSomething) {
        CHECK(resident_memory() < before + kRooms * sizeof(Session) / 2);
    }
}

TEST_CASE("session pool: every room is used before it has no more, over all chunks") {
    SessionPool pool;
    std::vector<SessionOwner> sessions;
    std::set<const Session*> seen;
    for (size_t room : {1, 2, 5, 30}) {
        pool.reserve(room);
        while (sessions.size() < room) {
            sessions.push_back(pool.take());
            CHECK(seen.insert(sessions.back().get()).second);
        }
    }
    sessions.clear();
    CHECK(pool.in_use() == 0);
    for (int i = 0; i < 30; ++i)
        sessions.push_back(pool.take());
    for (const SessionOwner& session : sessions)
        CHECK(seen.contains(session.get()));
}

TEST_CASE("rate limiter: five at once, then twenty a second, for each source alone") {
    SeededRandom random(1);
    RateLimiter limiter(random);
    const IpAddress one = IpAddress::parse("192.0.2.1").value();
    const IpAddress other = IpAddress::parse("192.0.2.2").value();
    Instant now = kStart;
    for (int i = 0; i < 5; ++i)
        CHECK(limiter.admit(one, now));
    CHECK_FALSE(limiter.admit(one, now));
    CHECK(limiter.admit(other, now));
    now += milliseconds(49);
    CHECK_FALSE(limiter.admit(one, now));
    now += milliseconds(1);
    CHECK(limiter.admit(one, now));
    CHECK_FALSE(limiter.admit(one, now));
    // A source that goes on and on gets its twenty a second and no more.
    int admitted = 0;
    for (int i = 0; i < 10'000; ++i) {
        now += milliseconds(1);
        admitted += limiter.admit(one, now) ? 1 : 0;
    }
    CHECK(admitted == 200);
    now += seconds(1);
    for (int i = 0; i < 5; ++i)
        CHECK(limiter.admit(one, now));
    CHECK_FALSE(limiter.admit(one, now));
}

TEST_CASE("rate limiter: the same as a bucket of tokens for each source") {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
        SeededRandom random(seed);
        RateLimiter limiter(random);
        struct Bucket {
            Duration tokens = seconds(5);  // a token is a second here: 20 a second fill it 20 times
            Instant at = kStart;
        };
        std::map<uint64_t, Bucket> model;
        Instant now = kStart;
        for (int i = 0; i < 20'000; ++i) {
            now += Duration(static_cast<int64_t>(random.below(8'000'000)));
            const auto source = static_cast<uint32_t>(random.below(20));
            std::array<uint8_t, 4> bytes;
            store_be32(bytes.data(), 0xc0000200 + source);
            Bucket& bucket = model[source];
            bucket.tokens = std::min<Duration>(seconds(5), bucket.tokens + (now - bucket.at) * 20);
            bucket.at = now;
            const bool expected = bucket.tokens >= seconds(1);
            if (expected) bucket.tokens -= seconds(1);
            REQUIRE(limiter.admit(IpAddress::v4(bytes.data()), now) == expected);
        }
    }
}

TEST_CASE("rate limiter: an IPv6 source is its /64") {
    SeededRandom random(1);
    RateLimiter limiter(random);
    for (int i = 0; i < 5; ++i) {
        const auto address = IpAddress::parse("2001:db8::" + std::to_string(i + 1)).value();
        CHECK(limiter.admit(address, kStart));
    }
    CHECK_FALSE(limiter.admit(IpAddress::parse("2001:db8::ffff").value(), kStart));
    CHECK(limiter.admit(IpAddress::parse("2001:db8:0:1::1").value(), kStart));
}

TEST_CASE("rate limiter: full of others it refuses, and forgets them when they are quiet") {
    SeededRandom random(1);
    RateLimiter limiter(random);
    size_t admitted = 0;
    for (uint32_t i = 0; i < 4 * kSourcesMax; ++i) {
        std::array<uint8_t, 4> bytes;
        store_be32(bytes.data(), i);
        admitted += limiter.admit(IpAddress::v4(bytes.data()), kStart) ? 1 : 0;
    }
    CHECK(admitted <= kSourcesMax);
    CHECK(admitted > kSourcesMax * 9 / 10);
    const auto late = IpAddress::parse("203.0.113.1").value();
    CHECK(limiter.admit(late, kStart + milliseconds(250)));
}

TEST_CASE("load meter: alarmed by a burst, calm after a quiet second") {
    LoadMeter load;
    Instant now = kStart;
    for (uint32_t i = 0; i < kLoadMessagesMax; ++i)
        CHECK_FALSE(load.count(now));
    CHECK(load.count(now));
    now += kLoadHold - milliseconds(1);
    CHECK(load.count(now));
    now += milliseconds(1);
    CHECK_FALSE(load.count(now));
    // The same number spread over windows never alarms it.
    now += kLoadWindow;
    for (uint32_t i = 0; i < 1000; ++i) {
        now += kLoadWindow / kLoadMessagesMax;
        CHECK_FALSE(load.count(now));
    }
}

TEST_CASE("timestamps: TAI64N, rounded down, always later than the last") {
    const WallTime wall{seconds(1'800'000'000) + Duration(123'456'789)};
    const Timestamp stamp = next_timestamp(wall, {});
    CHECK(load_be64(stamp.data()) == 0x400000000000000aULL + 1'800'000'000);
    const uint32_t nanosecond = load_be32(stamp.data() + 8);
    CHECK(nanosecond % (1u << 24) == 0);
    CHECK(nanosecond <= 123'456'789);
    CHECK(nanosecond + (1u << 24) > 123'456'789);

    // The clock stands still, or is set back by an hour: still later each time.
    Timestamp last = stamp;
    for (int i = 0; i < 200; ++i) {
        const Timestamp next = next_timestamp(i % 2 == 0 ? wall : wall - seconds(3600), last);
        REQUIRE(next > last);
        REQUIRE(load_be32(next.data() + 8) < 1'000'000'000);
        REQUIRE(load_be32(next.data() + 8) % (1u << 24) == 0);
        last = next;
    }
    // But it stays near: 200 steps of 17 ms.
    CHECK(load_be64(last.data()) - load_be64(stamp.data()) < 5);
    CHECK(next_timestamp(wall + seconds(60), last) > last);
}

TEST_CASE("timestamps: a clock that jumps is believed when the jump has stood for ten minutes") {
    const WallTime real{seconds(1'800'000'000)};
    // The clock as it should read, `hours` ahead of it.
    const auto at = [&](Duration elapsed, int64_t hours) {
        return Now{kStart + elapsed, real + elapsed + seconds(hours * 3600)};
    };
    for (const int64_t jump : {int64_t{24 * 3650}, int64_t{1}, int64_t{-1}, int64_t{-24 * 3650}}) {
        TimestampClock clock;
        CHECK(clock.read(at(seconds(0), 0)) == real);
        // It jumps, is set right, and jumps again: each time anew.
        CHECK(clock.read(at(seconds(10), jump)) == real + seconds(10));
        CHECK(clock.read(at(seconds(200), jump)) == real + seconds(200));
        CHECK(clock.read(at(seconds(400), 0)) == real + seconds(400));
        CHECK(clock.read(at(seconds(500), jump)) == real + seconds(500));
        CHECK(clock.read(at(seconds(1099), jump)) == real + seconds(1099));
        // It did not go away.
        CHECK(clock.read(at(seconds(1100), jump)) == at(seconds(1100), jump).wall);
        CHECK(clock.read(at(seconds(1101), jump)) == at(seconds(1101), jump).wall);
    }
    // From one wrong time to another: the second has to stand for itself.
    TimestampClock clock;
    clock.read(at(seconds(0), 0));
    CHECK(clock.read(at(seconds(10), 100)) == real + seconds(10));
    CHECK(clock.read(at(seconds(605), 5000)) == real + seconds(605));
    CHECK(clock.read(at(seconds(700), 5000)) == real + seconds(700));
}

TEST_CASE(
    "timestamps: a clock that is corrected a little, or set for the first time, is followed") {
    const WallTime real{seconds(1'800'000'000)};
    TimestampClock clock;
    CHECK(clock.read({kStart, real}) == real);
    CHECK(clock.read({kStart, real + seconds(59)}) == real + seconds(59));
    CHECK(clock.read({kStart, real + seconds(118)}) == real + seconds(118));
    CHECK(clock.read({kStart, real + seconds(60)}) == real + seconds(60));

    TimestampClock unset;
    CHECK(unset.read({kStart, WallTime(seconds(30))}) == WallTime(seconds(30)));
    CHECK(unset.read({kStart, real}) == real);
    CHECK(unset.read({kStart, real + seconds(3600)}) == real);
}

TEST_CASE("ECN: every cell of figure 4 of RFC 6040") {
    // Rows: inner Not-ECT, ECT(1), ECT(0), CE; columns: outer the same; -1: drop.
    const int expected[4][4] = {{0, 0, 0, -1}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}};
    for (uint8_t inner = 0; inner < 4; ++inner) {
        for (uint8_t outer = 0; outer < 4; ++outer) {
            for (const uint8_t dscp : {0x00, 0xb8}) {
                const auto got = decapsulated_traffic_class(inner | dscp, outer | 0x88);
                const int want = expected[inner][outer];
                REQUIRE(got.has_value() == (want >= 0));
                if (got) REQUIRE(*got == (dscp | want));
            }
        }
        CHECK(encapsulated_tos(inner | 0xb8) == inner);
    }
}

}  // namespace sluice::wireguard
