// Traffic for perf/ingress: HTTP/1.1 over TLS, from one thread.
//
//   http_load requests   --to IP --port P --host NAME --path P --tls 1.2|1.3 --connections N
//                        --milliseconds T --rate R
//   http_load handshakes --to IP --port P --host NAME --path P --tls 1.2|1.3 --connections N
//                        --milliseconds T --resume 0|1
//   http_load idle       --to IP --port P --host NAME --path P --tls 1.2|1.3 --connections N
//
// requests: kept connections, one request at a time on each. --rate 0: the next one at once. Else
// so many a second, at times that are fixed before; one whose connections are all busy is late, and
// its waiting counts (a generator that waits with the server would not see it stall).
// handshakes: connects, asks once, closes, again; with --resume 1 a session of the connection
// before is offered, and every connection must resume.
// idle: opens all, asks once on each, prints a line and holds them until its input ends.
//
// Each prints one JSON object.
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "perf/load_http/client.h"

namespace sluice::perf {
namespace {

uint64_t now_ns() {
    return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                     std::chrono::steady_clock::now().time_since_epoch())
                                     .count());
}

class Options {
  public:
    Options(int count, char** words) {
        for (int i = 2; i + 1 < count; i += 2)
            values_[words[i]] = words[i + 1];
    }
    const std::string& text(const std::string& name) const {
        const auto found = values_.find("--" + name);
        if (found == values_.end()) fail("--" + name + " is missing");
        return found->second;
    }
    uint64_t number(const std::string& name) const {
        const std::string& value = text(name);
        uint64_t number = 0;
        const auto [at, error] = std::from_chars(value.data(), value.data() + value.size(), number);
        if (error != std::errc() || at != value.data() + value.size())
            fail("--" + name + " is no number");
        return number;
    }

  private:
    std::map<std::string, std::string> values_;
};

Target target_of(const Options& options) {
    Target target;
    target.ip = options.text("to");
    target.port = static_cast<uint16_t>(options.number("port"));
    target.host = options.text("host");
    target.path = options.text("path");
    target.request = "GET " + target.path + " HTTP/1.1\r\nHost: " + target.host +
                     "\r\nUser-Agent: http_load\r\nAccept: */*\r\n\r\n";
    target.context = SSL_CTX_new(TLS_client_method());
    const bool old = options.text("tls") == "1.2";
    const int version = old ? TLS1_2_VERSION : TLS1_3_VERSION;
    SSL_CTX_set_min_proto_version(target.context, version);
    SSL_CTX_set_max_proto_version(target.context, version);
    SSL_CTX_set_ciphersuites(target.context, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set_cipher_list(target.context, "ECDHE+AES128");
    // The second for TLS 1.2, where the list also says which certificates are understood.
    SSL_CTX_set1_groups_list(target.context, "X25519:P-256");
    // Whom it speaks to is known, and what it costs to look is the client's.
    SSL_CTX_set_verify(target.context, SSL_VERIFY_NONE, nullptr);
    SSL_CTX_set_mode(target.context, SSL_MODE_RELEASE_BUFFERS);
    return target;
}

// Waits at most until `until`; the tags of what is ready.
std::vector<uint64_t> wait(int epoll, uint64_t until) {
    std::array<epoll_event, 256> events;
    const uint64_t now = now_ns();
    timespec timeout{};
    if (until > now) {
        timeout.tv_sec = static_cast<time_t>((until - now) / 1'000'000'000);
        timeout.tv_nsec = static_cast<long>((until - now) % 1'000'000'000);
    }
    const int count = epoll_pwait2(epoll, events.data(), events.size(), &timeout, nullptr);
    std::vector<uint64_t> tags;
    for (int i = 0; i < count; ++i)
        tags.push_back(events[static_cast<size_t>(i)].data.u64);
    return tags;
}

std::deque<Client> open_all(int epoll, const Target& target, uint64_t count) {
    // Not all at once: a queue of waiting connections that overflows makes the kernel wait seconds.
    static constexpr uint64_t kAtOnce = 64;
    std::deque<Client> clients;
    uint64_t ready = 0;
    while (ready < count) {
        while (clients.size() < count && clients.size() - ready < kAtOnce)
            clients.emplace_back(target).open(epoll, clients.size() - 1, nullptr);
        for (const uint64_t tag : wait(epoll, now_ns() + 100'000'000)) {
            Client& client = clients[tag];
            const bool before = client.state() == Client::State::kIdle;
            client.advance();
            if (!before && client.state() == Client::State::kIdle) ++ready;
        }
    }
    return clients;
}

void print_latencies(std::vector<uint64_t>& all, double seconds) {
    std::sort(all.begin(), all.end());
    const auto at = [&all](double share) {
        if (all.empty()) return 0.0;
        const auto place = static_cast<size_t>(std::ceil(share * static_cast<double>(all.size())));
        return static_cast<double>(all[std::min(place, all.size()) - (place > 0 ? 1 : 0)]) / 1e3;
    };
    std::printf(
        "{\"requests\": %zu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
        "\"p999_us\": %.1f, \"max_us\": %.1f}\n",
        all.size(), seconds, at(0.5), at(0.99), at(0.999), at(1));
}

void requests(const Options& options) {
    const Target target = target_of(options);
    const uint64_t length = options.number("milliseconds") * 1'000'000;
    const uint64_t rate = options.number("rate");
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    std::deque<Client> clients = open_all(epoll, target, options.number("connections"));
    std::vector<uint64_t> latencies;
    latencies.reserve(4'000'000);
    std::vector<Client*> idle;
    for (Client& client : clients)
        idle.push_back(&client);

    const uint64_t start = now_ns();
    const uint64_t end = start + length;
    uint64_t asked = 0;
    uint64_t now = start;
    while (now < end) {
        uint64_t next = end;
        while (!idle.empty()) {
            const uint64_t due = rate == 0 ? now : start + asked * 1'000'000'000 / rate;
            if (due > now) {
                next = std::min(next, due);
                break;
            }
            idle.back()->asked_at_ns = due;
            idle.back()->ask();
            idle.pop_back();
            ++asked;
        }
        for (const uint64_t tag : wait(epoll, next)) {
            Client& client = clients[tag];
            if (!client.advance()) continue;
            latencies.push_back(now_ns() - client.asked_at_ns);
            idle.push_back(&client);
        }
        now = now_ns();
    }
    print_latencies(latencies, static_cast<double>(now - start) / 1e9);
}

void handshakes(const Options& options) {
    const Target target = target_of(options);
    const bool resume = options.number("resume") != 0;
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    const uint64_t count = options.number("connections");
    std::deque<Client> clients;
    std::vector<SSL_SESSION*> sessions(count, nullptr);
    for (uint64_t i = 0; i < count; ++i)
        clients.emplace_back(target).open(epoll, i, nullptr);
    std::vector<uint64_t> durations;
    const uint64_t start = now_ns();
    const uint64_t end = start + options.number("milliseconds") * 1'000'000;
    std::vector<uint64_t> began(count, start);
    uint64_t now = start;
    while (now < end) {
        for (const uint64_t tag : wait(epoll, end)) {
            Client& client = clients[tag];
            const bool answered = client.advance();
            if (client.state() == Client::State::kIdle && !answered) client.ask();
            if (!answered) continue;
            if (resume && sessions[tag] != nullptr && !client.resumed())
                fail("a session was not resumed");
            if (resume) {
                SSL_SESSION_free(sessions[tag]);
                sessions[tag] = client.take_session();
            }
            durations.push_back(now_ns() - began[tag]);
            client.close();
            began[tag] = now_ns();
            client.open(epoll, tag, sessions[tag]);
        }
        now = now_ns();
    }
    print_latencies(durations, static_cast<double>(now - start) / 1e9);
    for (SSL_SESSION* session : sessions)
        SSL_SESSION_free(session);
}

void idle(const Options& options) {
    const Target target = target_of(options);
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    const uint64_t count = options.number("connections");
    std::deque<Client> clients = open_all(epoll, target, count);
    // In portions: all answers at once would make the server's busiest moment, not its idle one.
    static constexpr uint64_t kAtOnce = 64;
    for (uint64_t first = 0; first < count; first += kAtOnce) {
        const uint64_t last = std::min(count, first + kAtOnce);
        for (uint64_t i = first; i < last; ++i)
            clients[i].ask();
        for (uint64_t answered = first; answered < last;)
            for (const uint64_t tag : wait(epoll, now_ns() + 100'000'000))
                answered += clients[tag].advance() ? 1 : 0;
    }
    std::printf("{\"connections\": %zu}\n", clients.size());
    std::fflush(stdout);
    char byte = 0;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
}

}  // namespace
}  // namespace sluice::perf

int main(int count, char** words) {
    using namespace sluice::perf;
    const std::string command = count > 1 ? words[1] : "";
    const Options options(count, words);
    if (command == "requests")
        requests(options);
    else if (command == "handshakes")
        handshakes(options);
    else if (command == "idle")
        idle(options);
    else
        fail("the first word must be requests, handshakes or idle");
    return 0;
}
