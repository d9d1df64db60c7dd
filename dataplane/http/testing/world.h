// A proxy with everything around it in memory, on a clock that only the test moves.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/http/proxy.h"
#include "dataplane/http/testing/memory_stream.h"

namespace sluice::http::testing {

enum class Reachable { kYes, kNotAtOnce, kRefused, kSilent };

class World final : public Connector, public PeerDirectory {
  public:
    World() : random(1), timers(start()), proxy(*this, *this, random, timers, drops) {}

    static Instant start() { return Instant(std::chrono::hours(1)); }

    // One host "site.test", one backend with these servers (address "192.0.2.1:PORT").
    static std::shared_ptr<contract::Snapshot> snapshot(std::vector<uint16_t> ports = {8001}) {
        auto made = std::make_shared<contract::Snapshot>();
        made->generation = 1;
        contract::BackendConfig backend;
        backend.name = "backend";
        for (const uint16_t port : ports)
            backend.servers.push_back(server_at(port));
        made->backends.push_back(backend);
        contract::RouteConfig route;
        route.name = "route";
        route.hosts = {"site.test"};
        route.auth = contract::AuthMode::kPublic;
        made->routes.push_back(route);
        return made;
    }
    // The same, behind an auth service that is asked at kAuthPort.
    static constexpr uint16_t kAuthPort = 4180;
    static std::shared_ptr<contract::Snapshot> guarded_snapshot() {
        auto made = snapshot();
        contract::BackendConfig auth;
        auth.name = "auth";
        auth.servers.push_back(server_at(kAuthPort));
        made->backends.push_back(auth);
        contract::ForwardAuthConfig config;
        config.name = "oauth";
        config.backend = 1;
        config.authority = "auth.test:4180";
        config.path = "/auth";
        made->forward_auths.push_back(config);
        made->routes[0].auth = contract::AuthMode::kTailscaleBypass;
        made->routes[0].forward_auth = 0;
        return made;
    }
    static contract::ServerConfig server_at(uint16_t port) {
        contract::ServerConfig server;
        server.address = *Endpoint::parse("192.0.2.1:" + std::to_string(port));
        server.url = "http://192.0.2.1:" + std::to_string(port);
        server.host = server.address.text();
        return server;
    }
    void apply(std::shared_ptr<const contract::Snapshot> snapshot) {
        proxy.apply(std::move(snapshot), now);
    }

    std::shared_ptr<FarEnd> client(ClientFacts facts = elsewhere()) {
        auto far = std::make_shared<FarEnd>();
        proxy.accept(std::make_unique<MemoryStream>(events, far, client_manner), facts, now);
        run();
        return far;
    }
    static ClientFacts elsewhere() {
        return {*Endpoint::parse("198.51.100.7:50000"), *Endpoint::parse("203.0.113.1:3443"), true,
                false};
    }
    static ClientFacts tunnel(const std::string& address = "10.98.0.2") {
        return {Endpoint{*IpAddress::parse(address), 50000}, *Endpoint::parse("10.98.0.1:3443"),
                true, true};
    }

    std::unique_ptr<ByteStream> connect(const contract::ServerConfig& server,
                                        contract::UpstreamProtocol) override {
        const Endpoint& to = server.address;
        const auto found = reachable.find(to.port);
        const Reachable how = found == reachable.end() ? Reachable::kYes : found->second;
        attempts.push_back(to.port);
        if (how == Reachable::kNotAtOnce) return nullptr;
        auto far = std::make_shared<FarEnd>();
        far->connected = how == Reachable::kYes;
        auto stream = std::make_unique<MemoryStream>(events, far, server_manner);
        if (how == Reachable::kRefused) {
            far->broken = true;
            events.post(stream.get());
        }
        servers.push_back(far);
        return stream;
    }
    const std::string* peer_name(const IpAddress& inner_address) const override {
        const auto found = peers.find(inner_address.text());
        return found == peers.end() ? nullptr : &found->second;
    }

    // Until nothing moves any more.
    void run() {
        bool more = true;
        while (more) {
            while (!events.empty())
                events.run_one();
            more = proxy.run_pending() || !events.empty();
        }
    }
    void pass(Duration time) {
        now.mono += time;
        now.wall += time;
        proxy.set_now(now);
        timers.advance(now);
        run();
    }
    void send(const std::shared_ptr<FarEnd>& far, std::string_view bytes) {
        far->send(bytes);
        run();
    }
    // The server that has been asked something, and that nobody has looked at since.
    std::shared_ptr<FarEnd> asked() const {
        const auto found = std::ranges::find_if(
            servers, [](const auto& server) { return server->has_news() && !server->gone; });
        SLUICE_CHECK(found != servers.end());
        return *found;
    }
    contract::WorkerReport report() const {
        contract::WorkerReport report;
        proxy.report(report);
        return report;
    }

    Now now{start(), WallTime(std::chrono::seconds(784111777))};  // the date of RFC 9110
    EventQueue events;
    SeededRandom random;
    TimerWheel timers;
    DropCounters drops;
    StreamManner client_manner;
    StreamManner server_manner;
    std::map<uint16_t, Reachable> reachable;
    std::map<std::string, std::string> peers{{"10.98.0.2", "pixel"}};
    std::vector<std::shared_ptr<FarEnd>> servers;  // connections, in the order they were made
    std::vector<uint16_t> attempts;
    Proxy proxy;
};

}  // namespace sluice::http::testing
