// Broken files, and the exact words that their writers are told: every error of a file at once,
// each with its place, what is wrong and what would be right. Part: syntax, keys and types.
#include <catch2/catch.hpp>

#include "control/config/diagnose.h"

namespace sluice::config {

namespace {

// clang-format off
constexpr BrokenFile kFiles[] = {
    {"not TOML",
     R"([node
name = "x"
)",
     R"(f:1:6: not valid TOML: table header: expected ']', saw '\n'
)"},
    {"a value left open",
     R"(node = { name = "x"
)",
     R"(f:1:20: not valid TOML: inline table: expected key or closing '}', saw '\n'
)"},
    {"a key twice",
     R"([node]
name = "x"
name = "y"
)",
     R"(f:3:8: not valid TOML: key-value pair: cannot redefine existing string 'name'
)"},
    {"not UTF-8",
     "[node]\nname = \"\xff\xfe\"\n",
     R"(f:2:8: not valid TOML: Encountered invalid utf-8 sequence
)"},
    {"unknown table",
     R"([wiregard]
)",
     R"(f:1:2: unknown key "wiregard" at the top of the file; did you mean "wireguard"?
)"},
    {"unknown key, close to a known one",
     R"([node]
nmae = "x"
)",
     R"(f:2:1: unknown key "nmae" in [node]; did you mean "name"?
)"},
    {"unknown key, close to none",
     R"([log]
rotation = "daily"
)",
     R"(f:2:1: unknown key "rotation" in [log]; known here: level, access
)"},
    {"unknown key deep inside",
     R"([[backends]]
name = "b"
servers = [ { url = "builtin:welcome" , wieght = 2 } ]
)",
     R"(f:2:8: warning: no route uses the backend "b"
f:3:41: unknown key "wieght" in [[backends.servers]]; did you mean "weight"?
)"},
    {"a quoted key with a dot is no path",
     R"("node.name" = "x"
)",
     R"(f:1:1: unknown key "node.name" at the top of the file; known here: node, io, wireguard, listeners, tls, certificates, forward_auth, routes, backends, offloads, limits, dpdk, control, metrics, log
)"},
    {"wrong types",
     R"([node]
name = 7
workers = "two"
[tls]
min_version = 1.2
[wireguard]
addresses = "10.98.0.1/24"
listen_port = true
)",
     R"(f:2:8: "name" is a whole number; it must be a string
f:3:11: "workers" is a string; it must be a whole number
f:5:15: "min_version" is a number with a fraction; it must be a string
f:7:13: "addresses" is a string; it must be a list of strings
f:8:15: "listen_port" is a boolean; it must be a string or a whole number
)"},
    {"a table where a list belongs",
     R"([routes]
name = "x"
)",
     R"(f:1:1: "routes" is a table; it must be a list of tables
)"},
    {"a date",
     R"([node]
name = 2026-11-22
)",
     R"(f:2:8: "name" is a date or time; it must be a string
)"},
};
// clang-format on

}  // namespace

TEST_CASE("broken files: syntax, keys and types") {
    for (const BrokenFile& file : kFiles) {
        INFO(file.what);
        CHECK(diagnose(file.text) == file.told);
    }
}

}  // namespace sluice::config
