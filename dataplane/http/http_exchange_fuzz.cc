// A client and servers that send any bytes in any order, through a whole proxy.
//
// First byte even: a script. Each step sends some bytes from one side, ends or breaks a connection,
// lets one side read more, lets time pass, or reloads. After each step
//  - every byte that servers got reads as a sequence of requests, each with our own word on who is
//    calling, and there are no more of them than the proxy believes it sent: none was smuggled;
//    nor did any of them end up inside of another one's body;
//  - every byte that the client got reads as a sequence of responses;
// and in the end everything is given back.
//
// First byte odd: the rest is what a client sends to servers that behave. However the streams split
// it, servers see the same requests and the client sees the same answers.
#include <algorithm>
#include <string>
#include <vector>

#include "dataplane/base/check.h"
#include "dataplane/http/testing/naive_http.h"
#include "dataplane/http/testing/world.h"

namespace {

using namespace sluice;
using namespace sluice::http;
using namespace sluice::http::testing;

std::shared_ptr<contract::Snapshot> small_snapshot() {
    auto snapshot = World::snapshot({8001, 8002});
    snapshot->limits.head_bytes_max = 2048;
    snapshot->limits.header_count_max = 16;
    snapshot->routes[0].retries = 1;
    return snapshot;
}

struct Seen {
    std::string first_line;
    std::multimap<std::string, std::string> fields;
    std::string body;
    std::multimap<std::string, std::string> trailers;
    friend bool operator==(const Seen&, const Seen&) = default;
};

// None that software might take for a header of ours.
void check_trailers(const NaiveMessage& message) {
    for (const auto& [name, value] : message.trailers)
        for (const char* forbidden : {"host", "content-length", "transfer-encoding", "cookie",
                                      "x-forwarded-for", "x_forwarded_for", "authorization"})
            SLUICE_CHECK(name != forbidden);
}

// "METHOD /path HTTP/1.1", of which none is empty.
bool is_request_line(const std::string& line) {
    const size_t first = line.find(' ');
    const size_t last = line.rfind(' ');
    if (first == std::string::npos || first == 0 || last <= first + 1) return false;
    const std::string target = line.substr(first + 1, last - first - 1);
    return line.substr(last) == " HTTP/1.1" && target.find(' ') == std::string::npos &&
           (target == "*" || target.front() == '/');
}

// The complete requests that a server got.
std::vector<Seen> requests_of(const FarEnd& server) {
    std::vector<Seen> requests;
    NaiveReader reader(server.received);
    while (const auto request = reader.next_request()) {
        if (request->first_line.empty()) break;  // its head is not complete
        SLUICE_CHECK(request->count("host") == 1);
        SLUICE_CHECK(request->value("host").starts_with("site.test"));
        SLUICE_CHECK(request->count("x-forwarded-for") == 1);
        SLUICE_CHECK(request->value("x-forwarded-for") == "198.51.100.7");
        SLUICE_CHECK(request->count("x-sluice-peer") == 0);
        const bool upgrade = request->count("upgrade") > 0;
        if (upgrade) {
            SLUICE_CHECK(request->value("upgrade") == "websocket");
            SLUICE_CHECK(request->value("connection") == "Upgrade");
            SLUICE_CHECK(request->count("transfer-encoding") == 0);
            SLUICE_CHECK(request->count("content-length") == 0);
            SLUICE_CHECK(request->first_line.starts_with("GET "));
        } else if (request->count("connection") > 0) {
            SLUICE_CHECK(request->value("connection") == "TE" &&
                         request->value("te") == "trailers");
        }
        check_trailers(*request);
        SLUICE_CHECK(is_request_line(request->first_line));
        // The framing is the body's own.
        auto fields = request->fields;
        if (fields.contains("transfer-encoding"))
            SLUICE_CHECK(request->value("transfer-encoding") == "chunked");
        if (!request->complete) break;
        requests.push_back({request->first_line, fields, request->body, request->trailers});
        if (upgrade) return requests;  // what follows may be anything
    }
    SLUICE_CHECK(reader.error().empty());
    return requests;
}

uint64_t requests_believed(const World& world) {
    uint64_t sum = 0;
    for (const auto& server : world.report().servers)
        sum += server.requests;
    return sum;
}

// There the target of HTTP/2's connections has its say: what they answer are frames.
bool is_http2(std::string_view input) {
    return input.starts_with("PRI * HTTP/2.0\r\n\r\n");
}

// A request that is sent on a connection whose last one never got its whole body is taken for the
// rest of that body. Only we write this line, unless a client knows it.
void check_bodies(const FarEnd& server) {
    NaiveReader reader(server.received);
    while (const auto request = reader.next_request()) {
        SLUICE_CHECK(request->body.find("X-Forwarded-For: 198.51.100.7") == std::string::npos);
        if (request->count("upgrade") > 0) return;
    }
}

void check_invariants(const World& world, const std::vector<std::shared_ptr<FarEnd>>& clients,
                      const std::vector<std::string>& sent, uint64_t retired_requests) {
    size_t requests = 0;
    for (const auto& server : world.servers)
        requests += requests_of(*server).size();
    SLUICE_CHECK(requests <= requests_believed(world) + retired_requests);
    if (std::ranges::none_of(sent, [](const std::string& text) {
            return text.find("198.51.100.7") != std::string::npos;
        })) {
        for (const auto& server : world.servers)
            check_bodies(*server);
    }
    for (size_t i = 0; i < clients.size(); ++i) {
        // Which answer belongs to HEAD cannot be told from outside.
        if (sent[i].find("HEAD") != std::string::npos || is_http2(sent[i])) continue;
        NaiveReader reader(clients[i]->received);
        size_t answers = 0;
        while (const auto answer = reader.next_response(false)) {
            if (answer->first_line.empty()) break;
            SLUICE_CHECK(answer->first_line.starts_with("HTTP/1.1 "));
            SLUICE_CHECK(answer->first_line.size() >= 12);
            check_trailers(*answer);
            if (answer->first_line.substr(9, 3) == "101") break;  // what follows may be anything
            if (answer->first_line[9] != '1') ++answers;
        }
        SLUICE_CHECK(reader.error().empty());
        // No request without a line end, and one more for a head that was given up on.
        SLUICE_CHECK(answers <= static_cast<size_t>(std::ranges::count(sent[i], '\n')) + 1);
    }
}

class Script {
  public:
    Script(const uint8_t* data, size_t size) : rest_(data, size) {}
    bool empty() const { return rest_.empty(); }
    uint8_t byte() {
        if (rest_.empty()) return 0;
        const uint8_t value = rest_.front();
        rest_ = rest_.subspan(1);
        return value;
    }
    // Up to 255 bytes of the script itself.
    std::string text() {
        const size_t size = std::min<size_t>(byte(), rest_.size());
        const std::string taken(as_text(rest_.first(size)));
        rest_ = rest_.subspan(size);
        return taken;
    }

  private:
    Bytes rest_;
};

// Whole messages, because a fuzzer finds them slowly by itself.
constexpr std::string_view kPhrases[] = {
    "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\n\r\n",
    "PUT /a HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: site.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    "GET / HTTP/1.0\r\nHost: site.test\r\n\r\n",
    "hello",
    "5\r\nhello\r\n",
    "0\r\nX-Sum: 1\r\nCookie: a\r\nx_forwarded_for:1\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: site.test\r\nTE: trailers\r\nTrailer: x-sum\r\n"
    "Transfer-Encoding: chunked\r\n\r\n",
    "GET /w HTTP/1.1\r\nHost: site.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
    "0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
};

std::string draw_text(Script& script, bool phrase) {
    return phrase ? std::string(kPhrases[script.byte() % std::size(kPhrases)]) : script.text();
}

void run_script(Script script) {
    World world;
    SeededRandom whims(script.byte());
    const uint8_t manners = script.byte();
    if (manners & 1) world.client_manner = {.read_max = 7, .write_max = 9, .whims = &whims};
    if (manners & 2) world.server_manner = {.read_max = 11, .write_max = 5, .whims = &whims};
    world.client_manner.holds_back = (manners & 4) != 0;
    world.server_manner.holds_back = (manners & 8) != 0;
    world.apply(small_snapshot());
    std::vector<std::shared_ptr<FarEnd>> clients;
    std::vector<std::string> sent;
    uint64_t retired_requests = 0;
    for (int steps = 0; steps < 60 && !script.empty(); ++steps) {
        if (clients.empty()) {
            clients.push_back(world.client());
            sent.emplace_back();
        }
        const uint8_t op = script.byte();
        const bool at_server = (op & 0x10) != 0 && !world.servers.empty();
        FarEnd& far = at_server ? *world.servers[(op >> 6) % world.servers.size()]
                                : *clients[(op >> 6) % clients.size()];
        switch (op & 0x0f) {
            case 0:
            case 1:
            case 2:
            case 3:
            case 4:
            case 5: {
                const std::string text = draw_text(script, (op & 0x20) != 0);
                if (!at_server) sent[(op >> 6) % clients.size()] += text;
                far.send(text);
                break;
            }
            case 6:
                far.end();
                break;
            case 7:
                far.reset();
                break;
            case 8:
                far.allow(far.received.size() + script.byte());
                break;
            case 9:
                far.allow(SIZE_MAX);
                break;
            case 10:
                world.pass(std::chrono::seconds(script.byte()));
                break;
            case 11: {
                const uint64_t before = requests_believed(world);
                auto snapshot = small_snapshot();
                if (op & 0x20) snapshot->backends[0].servers.pop_back();
                world.apply(snapshot);
                retired_requests += before - std::min(before, requests_believed(world));
                break;
            }
            case 12:
                world.reachable[(op & 0x20) ? 8001 : 8002] = static_cast<Reachable>((op >> 6) % 4);
                break;
            case 13:
                clients.push_back(world.client());
                sent.emplace_back();
                break;
            case 14:
                far.connect();
                break;
            default:
                world.proxy.set_now(world.now);
                break;
        }
        world.run();
        check_invariants(world, clients, sent, retired_requests);
    }
    for (const auto& client : clients)
        client->reset();
    world.run();
    // Where a server does not take what the client sent, nothing more is read, and the client's end
    // is only seen when the server's time is over.
    for (int waits = 0; waits < 4; ++waits)
        world.pass(std::chrono::seconds(31));
    SLUICE_CHECK(world.proxy.connections_open() == 0);
    for (const auto& server : world.servers)
        SLUICE_CHECK(server->gone);
}

struct Conversation {
    std::vector<Seen> requests;
    std::string answers;
    bool ended = false;
    friend bool operator==(const Conversation&, const Conversation&) = default;
};

Conversation converse(std::string_view input, StreamManner manner, size_t step) {
    World world;
    world.client_manner = world.server_manner = manner;
    world.apply(small_snapshot());
    const auto client = world.client();
    std::map<FarEnd*, size_t> answered;
    const auto settle = [&] {
        for (bool more = true; more;) {
            world.run();
            more = false;
            for (size_t i = 0; i < world.servers.size(); ++i) {
                FarEnd& server = *world.servers[i];
                size_t& count = answered[&server];
                if (server.gone || requests_of(server).size() <= count) continue;
                server.send(++count % 2 == 0
                                ? "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\n\r\nok"
                                : "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "1\r\na\r\n0\r\n\r\n");
                more = true;
            }
        }
    };
    for (size_t at = 0; at < input.size(); at += step) {
        client->send(input.substr(at, step));
        settle();
    }
    settle();
    Conversation conversation;
    for (const auto& server : world.servers)
        for (const Seen& seen : requests_of(*server))
            conversation.requests.push_back(seen);
    // The order over several connections is not part of what was said.
    std::ranges::sort(conversation.requests, {}, &Seen::first_line);
    conversation.answers = client->received;
    conversation.ended = client->end_received;
    return conversation;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 2 || size > 8192) return 0;
    if (data[0] % 2 == 0) {
        run_script(Script(data + 1, size - 1));
        return 0;
    }
    const std::string_view input = as_text({data + 2, size - 2});
    if (is_http2(input)) return 0;
    SeededRandom whims(data[1]);
    const Conversation whole = converse(input, {}, input.size() + 1);
    const Conversation pieces = converse(input, {}, size_t{data[1]} + 1);
    SLUICE_CHECK(whole == pieces);
    const Conversation awkward =
        converse(input, {.read_max = 13, .write_max = 7, .holds_back = true, .whims = &whims},
                 input.size() + 1);
    SLUICE_CHECK(whole == awkward);
    return 0;
}
