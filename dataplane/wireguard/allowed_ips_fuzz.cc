// Insertions, then questions: the table answers as a scan through all prefixes does.
#include <algorithm>
#include <map>
#include <vector>

#include "dataplane/base/check.h"
#include "dataplane/wireguard/allowed_ips.h"

using namespace sluice;
using namespace sluice::wireguard;

namespace {

class Script {
  public:
    Script(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
    bool done() const { return at_ == end_; }
    uint8_t byte() { return done() ? 0 : *at_++; }
    // The first byte says how many leading bytes follow; the rest is zero, so that short scripts
    // make prefixes that are near each other.
    IpAddress address(bool v6) {
        std::array<uint8_t, 16> bytes{};
        const size_t length = std::min<size_t>(byte() % 17, v6 ? 16 : 4);
        for (size_t i = 0; i < length; ++i)
            bytes[i] = byte();
        return v6 ? IpAddress::v6(bytes.data()) : IpAddress::v4(bytes.data());
    }

  private:
    const uint8_t* at_;
    const uint8_t* end_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Script script(data, std::min<size_t>(size, 4096));
    AllowedIps ips;
    std::map<IpPrefix, PeerId> model;
    std::vector<IpAddress> asked;
    while (!script.done()) {
        const uint8_t command = script.byte();
        const IpAddress address = script.address((command & 1) != 0);
        asked.push_back(address);
        if ((command & 2) != 0) continue;
        const IpPrefix prefix{address, static_cast<uint8_t>(script.byte() % (address.bits() + 1))};
        const PeerId peer = command >> 2;
        ips.insert(prefix, peer);
        model[prefix.masked()] = peer;
    }
    ips.finish();
    for (const IpAddress& address : asked) {
        PeerId expected = kNoPeer;
        int longest = -1;
        for (const auto& [prefix, peer] : model) {
            if (prefix.length > longest && prefix.contains(address)) {
                longest = prefix.length;
                expected = peer;
            }
        }
        SLUICE_CHECK(ips.find(address.view()) == expected);
    }
    return 0;
}
