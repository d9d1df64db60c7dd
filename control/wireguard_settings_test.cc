// What `sluice wireguard` makes of its environment.
#include "control/wireguard_settings.h"

#include <catch2/catch.hpp>
#include <map>

namespace sluice::control {

namespace {

Result<WireguardSettings> settings_with(const std::map<std::string, std::string>& environment) {
    const auto variable = [&environment](const std::string& name) {
        const auto found = environment.find(name);
        return found == environment.end() ? std::string() : found->second;
    };
    return wireguard_settings("wg0", false, variable, 6);
}

std::string refusal_of(const std::string& name, const std::string& value) {
    const auto settings = settings_with({{name, value}});
    return settings ? "it works" : settings.error().message;
}

}  // namespace

TEST_CASE("with an empty environment it goes to the background and tells errors only") {
    const auto settings = settings_with({});
    REQUIRE(settings);
    CHECK(settings->interface == "wg0");
    CHECK_FALSE(settings->foreground);
    CHECK_FALSE(settings->tun_descriptor);
    CHECK_FALSE(settings->uapi_descriptor);
    CHECK(settings->log_level == log::Level::kError);
    CHECK_FALSE(settings->keeps_output);
    CHECK(settings->workers == 6);
    CHECK(settings->engine == config::Engine::kAuto);
}

TEST_CASE("every variable has its effect") {
    CHECK(settings_with({{"WG_PROCESS_FOREGROUND", "1"}})->foreground);
    CHECK_FALSE(settings_with({{"WG_PROCESS_FOREGROUND", "0"}})->foreground);
    CHECK(settings_with({{"WG_TUN_FD", "7"}})->tun_descriptor == 7);
    CHECK(settings_with({{"WG_UAPI_FD", "0"}})->uapi_descriptor == 0);
    CHECK(settings_with({{"SLUICE_WORKERS", "3"}})->workers == 3);
    CHECK(settings_with({{"SLUICE_WORKERS", "0"}})->workers == 6);
    CHECK(settings_with({{"SLUICE_ENGINE", "epoll"}})->engine == config::Engine::kEpoll);
    CHECK(settings_with({{"SLUICE_ENGINE", "io_uring"}})->engine == config::Engine::kIoUring);
    for (const std::string level : {"verbose", "debug"}) {
        CHECK(settings_with({{"LOG_LEVEL", level}})->log_level == log::Level::kDebug);
        CHECK(settings_with({{"LOG_LEVEL", level}})->keeps_output);
    }
    CHECK(settings_with({{"LOG_LEVEL", "silent"}})->log_level == log::Level::kSilent);
    CHECK_FALSE(settings_with({{"LOG_LEVEL", "silent"}})->keeps_output);
    for (const std::string level : {"error", "whatever"}) {
        CHECK(settings_with({{"LOG_LEVEL", level}})->log_level == log::Level::kError);
        CHECK(settings_with({{"LOG_LEVEL", level}})->keeps_output);
    }
}

TEST_CASE("what a variable cannot say is refused by name") {
    for (const std::string value : {"x", "-1", "3 ", "99999999999", "+3"}) {
        CHECK(refusal_of("WG_TUN_FD", value) ==
              "WG_TUN_FD=" + value + ": it has to be the number of an open descriptor");
        CHECK(refusal_of("WG_UAPI_FD", value) ==
              "WG_UAPI_FD=" + value + ": it has to be the number of an open descriptor");
    }
    for (const std::string value : {"257", "many", "-1"}) {
        CHECK(refusal_of("SLUICE_WORKERS", value) ==
              "SLUICE_WORKERS=" + value +
                  ": it has to be a number up to 256; 0 means one per core");
    }
    CHECK(refusal_of("SLUICE_ENGINE", "steam") ==
          "SLUICE_ENGINE=steam: it has to be io_uring, epoll or auto");
}

}  // namespace sluice::control
