// A line of the access log, field by field; and whatever bytes a client sends, one line of JSON.
#include "dataplane/worker/access_lines.h"

#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>

namespace sluice::worker {

namespace {

using namespace std::chrono_literals;

http::AccessRecord sample(const TlsFacts& tls) {
    http::AccessRecord record;
    record.begun = WallTime(1764000000s + 7ms);  // 2025-11-24T16:00:00Z
    record.client = *Endpoint::parse("[fd98::2]:51000");
    record.peer = "pixel";
    record.tls = &tls;
    record.certificate_subject = "O=Example,CN=ann";
    record.certificate_serial = "10af";
    record.method = "GET";
    record.host = "app.example";
    record.path = "/a";
    record.route = "app";
    record.backend = "one";
    record.server = "http://127.0.0.1:8080";
    record.tries = 1;
    record.status = 200;
    record.until_response = 1234us;
    record.total = 2s;
    record.bytes_received = 5;
    record.bytes_sent = 4'000'000'000;
    return record;
}

// Strictly one JSON object of strings, numbers and booleans in printable ASCII, and a line end.
bool is_one_line(std::string_view line) {
    if (!line.starts_with('{') || !line.ends_with("}\n")) return false;
    bool in_text = false;
    for (size_t i = 0; i + 1 < line.size(); ++i) {
        const auto byte = static_cast<uint8_t>(line[i]);
        if (byte < 0x20 || byte > 0x7e) return false;
        if (line[i] == '\\') {
            if (!in_text) return false;
            const char escaped = line[i + 1];
            if (escaped != '"' && escaped != '\\' && escaped != 'u') return false;
            i += escaped == 'u' ? 5 : 1;
        } else if (line[i] == '"') {
            in_text = !in_text;
        } else if (!in_text && line[i] == '{' && i > 0) {
            return false;
        }
    }
    return !in_text;
}

}  // namespace

TEST_CASE("access log: the fields of a line") {
    Doorbell bell;
    LineRing ring(1 << 16, bell);
    AccessLines lines(ring, 3);
    TlsFacts tls;
    tls.done = true;
    tls.version = "TLSv1.3";
    tls.cipher = "TLS_AES_128_GCM_SHA256";
    tls.server_name = "app.example";
    tls.resumed = true;
    const std::string expected =
        R"({"time":"2025-11-24T16:00:00.007Z","client":"fd98::2","client_port":51000,)"
        R"("peer":"pixel","method":"GET","host":"app.example","path":"/a","protocol":"HTTP/1.1",)"
        R"("status":200,"route":"app","backend":"one","server":"http://127.0.0.1:8080",)"
        R"("tries":1,"response_ms":1.234,"total_ms":2000.000,"bytes_received":5,)"
        R"("bytes_sent":4000000000,"tls_version":"TLSv1.3",)"
        R"("tls_cipher":"TLS_AES_128_GCM_SHA256","tls_sni":"app.example","tls_resumed":true,)"
        R"("ktls":false,"certificate_subject":"O=Example,CN=ann","certificate_serial":"10af",)"
        R"("worker":3})"
        "\n";
    CHECK(lines.line_of(sample(tls)) == expected);
    lines.record(sample(tls));
    std::array<uint8_t, 2048> got{};
    const size_t count = ring.read(got);
    CHECK(std::string_view(reinterpret_cast<const char*>(got.data()), count) == expected);
}

TEST_CASE("access log: hostile bytes stay inside their field") {
    Doorbell bell;
    LineRing ring(1 << 16, bell);
    AccessLines lines(ring, 0);
    const TlsFacts tls;
    std::string all;
    for (int byte = 0; byte < 256; ++byte)
        all += static_cast<char>(byte);
    http::AccessRecord record = sample(tls);
    record.http_major = 2;
    record.host = "\"},{\"\n";
    record.path = all;
    record.method = "\\";
    const std::string line(lines.line_of(record));
    CHECK(is_one_line(line));
    CHECK(line.find(R"("host":"\"},{\"\u000a")") != std::string::npos);
    CHECK(line.find(R"("method":"\\")") != std::string::npos);
    CHECK(line.find(R"("protocol":"HTTP/2")") != std::string::npos);
    CHECK(line.find("\\u00ff\"") != std::string::npos);
    CHECK(line.find("tls_") == std::string::npos);
    const std::string long_path(100000, '\xff');
    record.path = record.host = record.user = record.peer = record.server = long_path;
    record.certificate_subject = long_path;
    const std::string cut(lines.line_of(record));
    CHECK(is_one_line(cut));
    CHECK(cut.size() < 45000);
}

}  // namespace sluice::worker
