#include "dataplane/wire/ip_packet.h"

namespace sluice::wire {

void set_traffic_class(MutableBytes packet, uint8_t traffic_class) {
    uint8_t* at = packet.data();
    const uint16_t before = load_be16(at);
    if (at[0] >> 4 == 6) {
        store_be16(at, static_cast<uint16_t>((before & 0xf00f) | traffic_class << 4));
        return;
    }
    at[1] = traffic_class;
    // RFC 1624, equation 3: the new sum out of the old one and the word that changed.
    uint32_t sum = static_cast<uint16_t>(~load_be16(at + 10));
    sum += static_cast<uint16_t>(~before);
    sum += load_be16(at);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    store_be16(at + 10, static_cast<uint16_t>(~sum));
}

}  // namespace sluice::wire
