// Keys of session tickets: always a new one in front, the old ones for a day.
#include "control/ticket_key_rotation.h"

#include <catch2/catch.hpp>

namespace sluice::control {

using namespace std::chrono_literals;

TEST_CASE("a new ticket key seals, and the ones before it open for a day") {
    SeededRandom random(5);
    TicketKeyRotation rotation(random);
    const Instant start = Instant() + 100h;

    const auto first = rotation.rotate(start);
    REQUIRE(first->keys.size() == 1);
    CHECK_FALSE(first->keys[0].cipher_key.is_zero());
    CHECK_FALSE(first->keys[0].mac_key.is_zero());
    CHECK_FALSE(first->keys[0].cipher_key == first->keys[0].mac_key);

    const auto second = rotation.rotate(start + 12h);
    REQUIRE(second->keys.size() == 2);
    CHECK(second->keys[0].name != first->keys[0].name);
    CHECK_FALSE(second->keys[0].cipher_key == first->keys[0].cipher_key);
    CHECK_FALSE(second->keys[0].mac_key == first->keys[0].mac_key);
    CHECK(second->keys[1].name == first->keys[0].name);
    CHECK(second->keys[1].cipher_key == first->keys[0].cipher_key);
    CHECK(second->keys[1].mac_key == first->keys[0].mac_key);

    // The first one was retired at 12 h, so its last tickets are taken until 36 h.
    const auto third = rotation.rotate(start + 24h);
    REQUIRE(third->keys.size() == 3);
    CHECK(third->keys[2].name == first->keys[0].name);
    const auto fourth = rotation.rotate(start + 36h);
    REQUIRE(fourth->keys.size() == 3);
    CHECK(fourth->keys[1].name == third->keys[0].name);
    CHECK(fourth->keys[2].name == second->keys[0].name);

    // After a long pause only the key that sealed until now is left.
    const auto later = rotation.rotate(start + 200h);
    REQUIRE(later->keys.size() == 2);
    CHECK(later->keys[1].name == fourth->keys[0].name);
}

}  // namespace sluice::control
