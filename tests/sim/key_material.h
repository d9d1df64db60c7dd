// Keys and first MACs computed with OpenSSL alone, so that the world does not judge the product by
// the product's own cryptography.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/base/bytes.h"
#include "dataplane/base/secret.h"
#include "tests/sim/dice.h"

namespace sluice::sim {

using PublicKey = std::array<uint8_t, 32>;

struct KeyPair {
    Secret<32> secret;
    PublicKey public_key{};
};

KeyPair draw_key_pair(Dice& dice);

// Makes and checks the first MAC of handshake messages for one receiver.
class FirstMac {
  public:
    explicit FirstMac(const PublicKey& receiver);
    std::array<uint8_t, 16> of(Bytes message_before_mac) const;
    // Whether `message` is an initiation or a response, by type and length, whose first MAC is
    // right for the receiver.
    bool valid(Bytes message) const;
    // Puts the right one into an initiation or a response.
    void write(MutableBytes message) const;

  private:
    std::array<uint8_t, 32> key_{};
};

// Where the first MAC of a message of this type and length stands; 0: it has none.
size_t first_mac_offset(Bytes message);

}  // namespace sluice::sim
