#include "dataplane/http/path.h"

#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <vector>

namespace sluice::http {
namespace {

using wire::Http1Fault;

struct Normal {
    std::string path;
    std::string generous;
    std::optional<Http1Fault> fault;
};

Normal normalise(const std::string& raw) {
    std::string storage(raw.size(), '?');
    std::string generous(raw.size(), '?');
    const auto path = normalise_path(raw, storage, generous);
    if (!path) return {{}, {}, path.error()};
    return {std::string(path->path), std::string(path->generous), {}};
}

TEST_CASE("paths get one spelling") {
    struct Case {
        const char* rule;
        const char* raw;
        const char* path;
        const char* generous = nullptr;  // null: the same
    };
    const std::vector<Case> cases = {
        {"nothing to do", "/", "/"},
        {"nothing to do", "/a/b.c/d-e_f~g", "/a/b.c/d-e_f~g"},
        {"a slash at the end stays", "/a/b/", "/a/b/"},
        {"sub-delimiters stay", "/a!$&'()*+,=:@b", "/a!$&'()*+,=:@b"},
        {"what browsers leave as it is stays", "/a|b^c[d]", "/a|b^c[d]"},
        {"RFC 3986 5.2.4", "/a/b/c/./../../g", "/a/g"},
        {"RFC 3986 5.2.4: at the end", "/a/b/.", "/a/b/"},
        {"RFC 3986 5.2.4: at the end", "/a/b/..", "/a/"},
        {"RFC 3986 5.2.4: alone", "/.", "/"},
        {"RFC 3986 5.2.4: down and up", "/a/..", "/"},
        {"three dots are a name", "/a/.../b", "/a/.../b"},
        {"so is a dot in front", "/.well-known/x", "/.well-known/x"},
        {"RFC 3986 6.2.2.2: unreserved is decoded", "/%61%2D%5f%7E%2e%41", "/a-_~.A"},
        {"RFC 3986 6.2.2.2: dots too, and then removed", "/a/%2e%2E/b", "/b"},
        {"RFC 3986 6.2.2.2: half and half", "/a/.%2e/b", "/b"},
        {"RFC 3986 6.2.2.1: capitals", "/caf%c3%a9", "/caf%C3%A9"},
        {"one slash begins the path", "//a", "/a"},
        {"however many come", "////", "/"},
        {"or come to be", "/a/..//b", "/b"},
        {"elsewhere empty segments stay", "/a//b", "/a//b", "/a/b"},
        {"and count for dots", "/a//../b", "/a/b"},
        {"at the end as well", "/a//", "/a//", "/a/"},
        {"an encoded slash stays", "/a%2fb", "/a%2Fb", "/a/b"},
        {"an encoded slash with dots", "/a/x%2f..%2fb", "/a/x%2F..%2Fb", "/a/b"},
        {"an encoded backslash", "/a%5cb", "/a%5Cb", "/a/b"},
        {"reserved, encoded", "/a%40b%3fc", "/a%40b%3Fc", "/a@b?c"},
        {"an encoded percent sign is decoded once at most", "/%2561", "/%2561"},
        {"parameters", "/a;v=1/b;w", "/a;v=1/b;w", "/a/b"},
        {"encoded parameters", "/a%3bv/b", "/a%3Bv/b", "/a/b"},
        {"encoded slash at the end", "/a%2f", "/a%2F", "/a/"},
        {"encoded space", "/a%20b", "/a%20b"},
    };
    for (const Case& tried : cases) {
        INFO(tried.rule << ": " << tried.raw);
        const Normal normal = normalise(tried.raw);
        REQUIRE_FALSE(normal.fault);
        CHECK(normal.path == tried.path);
        CHECK(normal.generous == (tried.generous != nullptr ? tried.generous : tried.path));
        // The spelling is final.
        CHECK(normalise(normal.path).path == normal.path);
    }
}

TEST_CASE("paths that mean nothing, or too much, are refused") {
    struct Case {
        const char* rule;
        const char* raw;
        Http1Fault fault;
    };
    const std::vector<Case> cases = {
        {"a path begins with a slash", "a/b", Http1Fault::kPathSyntax},
        {"nothing", "", Http1Fault::kPathSyntax},
        {"RFC 3986 2.1: two digits", "/%4", Http1Fault::kPathSyntax},
        {"RFC 3986 2.1: hexadecimal", "/%4g", Http1Fault::kPathSyntax},
        {"RFC 3986 2.1: two", "/a%", Http1Fault::kPathSyntax},
        {"IIS's own", "/%u002e", Http1Fault::kPathSyntax},
        {"NUL", "/a%00b", Http1Fault::kPathSyntax},
        {"CRLF", "/a%0d%0aX:%20b", Http1Fault::kPathSyntax},
        {"DEL", "/a%7f", Http1Fault::kPathSyntax},
        {"backslash", "/a\\..\\b", Http1Fault::kPathSyntax},
        {"fragment", "/a#b", Http1Fault::kPathSyntax},
        {"above the root", "/..", Http1Fault::kPathAboveRoot},
        {"above the root later", "/a/../../b", Http1Fault::kPathAboveRoot},
        {"encoded", "/%2e%2e/a", Http1Fault::kPathAboveRoot},
        {"half", "/.%2E/a", Http1Fault::kPathAboveRoot},
        {"behind slashes", "//../a", Http1Fault::kPathAboveRoot},
        {"dots with parameters", "/a/..;/b", Http1Fault::kPathAmbiguous},
        {"one dot", "/a/.;x/b", Http1Fault::kPathAmbiguous},
        {"encoded dots with parameters", "/a/%2e%2e;x=y/b", Http1Fault::kPathAmbiguous},
        {"above the root for the generous", "/..%2fa", Http1Fault::kPathAmbiguous},
        {"the same with a backslash", "/a/..%5c..%5c..%5cb", Http1Fault::kPathAmbiguous},
        {"slash in parameters", "/a;x%2fb", Http1Fault::kPathAmbiguous},
    };
    for (const Case& tried : cases) {
        INFO(tried.rule << ": " << tried.raw);
        const Normal normal = normalise(tried.raw);
        REQUIRE(normal.fault);
        CHECK(text_of(*normal.fault).sentence == text_of(tried.fault).sentence);
    }
}

}  // namespace
}  // namespace sluice::http
