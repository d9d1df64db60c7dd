// Requests that we accept, read by llhttp: it must accept them too, and find the same method,
// target, headers, body and end. A request that the two read differently is a smuggled one in the
// making.
//
// llhttp need not refuse what we refuse: we are meant to be the stricter one.
#include <llhttp.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/base/random.h"
#include "dataplane/http/body_framing.h"
#include "dataplane/http/request_target.h"
#include "dataplane/wire/http1_chunked.h"
#include "dataplane/wire/http1_message.h"

namespace sluice::http {
namespace {

struct Read {
    std::string method;
    std::string target;
    int minor = 1;
    std::vector<std::pair<std::string, std::string>> fields;
    std::string body;
    bool close = false;
    size_t size = 0;

    friend bool operator==(const Read&, const Read&) = default;
};

// Only whole requests.
std::optional<Read> read_ours(std::string_view input) {
    wire::Http1HeadScanner scanner;
    if (scanner.scan(as_bytes(input), wire::Http1Kind::kRequest, {}) !=
        wire::Http1HeadScanner::Result::kComplete)
        return std::nullopt;
    std::vector<wire::Http1Field> storage(100);
    const auto head =
        wire::parse_request_head(as_bytes(input.substr(0, scanner.head_size())), storage);
    if (!head) return std::nullopt;
    TargetStorage storage_for_target(8192);
    const auto framing = frame_request(*head);
    if (!framing || !read_target(*head, storage_for_target)) return std::nullopt;
    Read read{.method = std::string(head->method),
              .target = std::string(head->target),
              .minor = head->minor_version,
              .fields = {},
              .body = {},
              .close = framing->close,
              .size = scanner.head_size()};
    for (const wire::Http1Field& field : head->fields)
        read.fields.emplace_back(field.name, field.value);
    std::string_view rest = input.substr(read.size);
    if (framing->body.kind == BodyKind::kLength) {
        if (rest.size() < framing->body.length) return std::nullopt;
        read.body = rest.substr(0, framing->body.length);
        read.size += framing->body.length;
    } else if (framing->body.kind == BodyKind::kChunked) {
        wire::Http1ChunkedDecoder decoder;
        for (;;) {
            const auto step = decoder.next(as_bytes(rest));
            read.body += as_text(step.payload);
            read.size += step.consumed;
            rest.remove_prefix(step.consumed);
            if (step.result == wire::Http1ChunkedDecoder::Result::kEnd) break;
            if (step.result != wire::Http1ChunkedDecoder::Result::kPayload) return std::nullopt;
        }
    }
    return read;
}

struct Theirs {
    Read read;
    bool in_value = false;
    bool headers_over = false;
};
Theirs& theirs(llhttp_t* parser) {
    return *static_cast<Theirs*>(parser->data);
}

std::string trimmed(std::string text) {
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
        text.pop_back();
    return text;
}

// What llhttp finds, or why it refuses.
std::optional<Read> read_theirs(std::string_view input, std::string& why) {
    llhttp_settings_t settings;
    llhttp_settings_init(&settings);
    settings.on_url = [](llhttp_t* parser, const char* at, size_t size) {
        theirs(parser).read.target.append(at, size);
        return 0;
    };
    settings.on_header_field = [](llhttp_t* parser, const char* at, size_t size) {
        Theirs& found = theirs(parser);
        if (found.headers_over) return 0;  // a trailer
        if (found.in_value || found.read.fields.empty()) found.read.fields.emplace_back();
        found.in_value = false;
        found.read.fields.back().first.append(at, size);
        return 0;
    };
    settings.on_header_value = [](llhttp_t* parser, const char* at, size_t size) {
        Theirs& found = theirs(parser);
        if (found.headers_over) return 0;
        found.in_value = true;
        found.read.fields.back().second.append(at, size);
        return 0;
    };
    settings.on_header_value_complete = [](llhttp_t* parser) {
        theirs(parser).in_value = true;  // an empty value is not announced
        return 0;
    };
    settings.on_headers_complete = [](llhttp_t* parser) {
        theirs(parser).headers_over = true;
        // Upgrades end llhttp's reading; we ignore them, and the body is there all the same.
        parser->upgrade = 0;
        return 0;
    };
    settings.on_body = [](llhttp_t* parser, const char* at, size_t size) {
        theirs(parser).read.body.append(at, size);
        return 0;
    };
    settings.on_message_complete = [](llhttp_t* parser) {
        Theirs& found = theirs(parser);
        found.read.close = llhttp_should_keep_alive(parser) == 0;
        found.read.method = llhttp_method_name(static_cast<llhttp_method_t>(parser->method));
        found.read.minor = parser->http_minor;
        return static_cast<int>(HPE_PAUSED);
    };
    Theirs found;
    llhttp_t parser;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = &found;
    const llhttp_errno_t result = llhttp_execute(&parser, input.data(), input.size());
    if (result != HPE_PAUSED) {
        why = std::string(llhttp_errno_name(result)) + ": " +
              (parser.reason != nullptr ? parser.reason : "not at the end");
        return std::nullopt;
    }
    found.read.size = static_cast<size_t>(llhttp_get_error_pos(&parser) - input.data());
    for (auto& [name, value] : found.read.fields)
        value = trimmed(value);
    return found.read;
}

// llhttp takes known methods only, and that is its right.
bool knows_method(std::string_view method) {
    for (int i = 0; i <= HTTP_SOURCE; ++i) {
        const char* name = llhttp_method_name(static_cast<llhttp_method_t>(i));
        if (name != nullptr && method == name && i < HTTP_PRI) return true;
    }
    return false;
}

// True if the input was one that both had to read.
bool compare(std::string input) {
    if (!read_ours(input)) return false;
    // White space around values may be tabs (RFC 9112 section 5.1); llhttp takes only spaces behind
    // the values that it knows itself.
    std::replace(input.begin(), input.begin() + static_cast<ptrdiff_t>(input.find("\r\n\r\n")),
                 '\t', ' ');
    const auto ours = read_ours(input);
    REQUIRE(ours);
    if (!knows_method(ours->method) || ours->method == "CONNECT") return false;
    std::string why;
    const auto found = read_theirs(input, why);
    INFO(input);
    INFO("llhttp: " << why);
    REQUIRE(found);
    CHECK(found->method == ours->method);
    CHECK(found->target == ours->target);
    CHECK(found->minor == ours->minor);
    CHECK(found->fields == ours->fields);
    CHECK(found->body == ours->body);
    CHECK(found->size == ours->size);
    // We close where llhttp would; we may close more often (HTTP/1.0).
    CHECK((ours->close || !found->close));
    return true;
}

std::vector<std::string> seeds() {
    std::vector<std::string> all;
    const std::filesystem::path corpus =
        std::string(SLUICE_SOURCE_DIR) + "/tests/corpus/http1_request";
    for (const auto& entry : std::filesystem::directory_iterator(corpus)) {
        std::ifstream file(entry.path(), std::ios::binary);
        std::string bytes{std::istreambuf_iterator<char>(file), {}};
        if (!bytes.empty()) all.push_back(bytes.substr(1));  // the first says how to split
    }
    std::ranges::sort(all);
    return all;
}

const std::array kPieces = {"\r\n",
                            "\n",
                            "\r",
                            " ",
                            "\t",
                            ":",
                            ";",
                            ",",
                            "\x0b",
                            "\x80",
                            "\x7f",
                            "0",
                            "5",
                            "a",
                            "chunked",
                            "close",
                            "keep-alive",
                            "Connection: ",
                            "HTTP/1.0",
                            "HTTP/1.1",
                            "Content-Length: 5\r\n",
                            "Transfer-Encoding: chunked\r\n",
                            "Expect: 100-continue\r\n",
                            "\r\n\r\n",
                            "=\"x y\"",
                            ";a=b",
                            "5\r\nhello\r\n",
                            "Upgrade: h2c\r\n",
                            "Connection: upgrade\r\n",
                            "X-Y: z\r\n",
                            "%2e",
                            "?",
                            "|",
                            "{",
                            "_",
                            "\\"};

std::string mutated(std::string text, const std::vector<std::string>& all, SeededRandom& random) {
    for (uint64_t more = 1 + random.below(4); more > 0; --more) {
        const size_t at = random.below(text.size() + 1);
        switch (random.below(6)) {
            case 0:
            case 1:
                text.insert(at, kPieces[random.below(kPieces.size())]);
                break;
            case 2:
                text.erase(at, 1 + random.below(4));
                break;
            case 3:
                if (at < text.size()) text[at] = static_cast<char>(random.below(256));
                break;
            case 4:
                if (at < text.size()) text[at] ^= 0x20;
                break;
            default: {
                const std::string& other = all[random.below(all.size())];
                text = text.substr(0, at) + other.substr(random.below(other.size() + 1));
                break;
            }
        }
    }
    return text;
}

TEST_CASE("what we accept, llhttp accepts, and reads the same") {
    const std::vector<std::string> all = seeds();
    REQUIRE(all.size() > 30);
    size_t compared = 0;
    for (const std::string& seed : all)
        compared += compare(seed) ? 1 : 0;
    CHECK(compared > 15);
    SeededRandom random(11);
    for (int round = 0; round < 500'000; ++round)
        compared += compare(mutated(all[random.below(all.size())], all, random)) ? 1 : 0;
    // So many that nearly every accepted spelling was among them; a generator that only makes
    // garbage would prove nothing.
    CHECK(compared > 40'000);
}

TEST_CASE("the two are really compared") {
    std::string why;
    const std::string request = "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET";
    const auto ours = read_ours(request);
    REQUIRE(ours);
    CHECK(ours->body == "hi");
    CHECK(ours->size == request.size() - 3);
    CHECK(read_theirs(request, why) == ours);
    CHECK_FALSE(read_theirs("GET / HTTP/1.1\r\nHost : a\r\n\r\n", why));
}

}  // namespace
}  // namespace sluice::http
