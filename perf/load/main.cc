// Traffic for perf/wireguard, between the two ends of a tunnel or towards one of them.
//
//   tunnel_load flood --from-namespace N --from IP --to-namespace N --to IP
//                     --size BYTES --milliseconds T --window PACKETS
//   tunnel_load round-trips --from-namespace N --from IP --to-namespace N --to IP --milliseconds T
//   tunnel_load keys --seed S --count N
//   tunnel_load handshakes --namespace N --first-source IP --own-port P --to IP --port P
//                     --public-key HEX --seed S --count N --window N --milliseconds T
//
// Each prints one JSON object. The files of the commands tell what they do.
#include <charconv>
#include <cstdio>
#include <string>

#include "perf/load/options.h"
#include "perf/load/sockets.h"

namespace sluice::perf {

Options::Options(int count, char** words) {
    for (int i = 2; i < count; i += 2) {
        const std::string name = words[i];
        if (!name.starts_with("--") || i + 1 == count) fail(name + ": expected --NAME VALUE");
        values_[name.substr(2)] = words[i + 1];
    }
}

std::string Options::text(const std::string& name) {
    auto found = values_.extract(name);
    if (found.empty()) fail("--" + name + " is missing");
    return std::move(found.mapped());
}

uint64_t Options::number(const std::string& name) {
    const std::string value = text(name);
    uint64_t number = 0;
    const char* end = value.data() + value.size();
    const auto [at, error] = std::from_chars(value.data(), end, number);
    if (error != std::errc() || at != end) fail("--" + name + " " + value + " is no number");
    return number;
}

void Options::finish() const {
    if (!values_.empty()) fail("there is no --" + values_.begin()->first);
}

}  // namespace sluice::perf

int main(int count, char** words) {
    using namespace sluice::perf;
    const std::string command = count > 1 ? words[1] : "";
    Options options(count, words);
    if (command == "flood")
        flood(options);
    else if (command == "round-trips")
        round_trips(options);
    else if (command == "keys")
        print_public_keys(options);
    else if (command == "handshakes")
        handshakes(options);
    else
        fail("the first word must be flood, round-trips, keys or handshakes");
    return 0;
}
