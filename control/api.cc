#include "control/api.h"

#include <memory>
#include <utility>

#include "control/admin/views.h"

namespace sluice::control {

namespace {

using admin::Picture;
using admin::Request;
using admin::Respond;

admin::LastReloadView last_reload_view(const Node& node) {
    admin::LastReloadView view;
    if (!node.last_reload()) return view;
    const LoadOutcome& outcome = node.last_reload()->outcome;
    view.time = node.last_reload()->time;
    view.result = !outcome.ok ? "refused" : outcome.changed ? "ok" : "unchanged";
    for (const auto* const lines : {&outcome.errors, &outcome.worker_errors}) {
        for (const std::string& line : *lines)
            view.error += (view.error.empty() ? "" : "\n") + line;
    }
    return view;
}

class Api : public std::enable_shared_from_this<Api> {
  public:
    Api(Node& node, ControlLoop& loop, ApiOptions options)
        : node_(node), loop_(loop), options_(std::move(options)) {}

    // A handler that shows what `view` makes of the workers' reports.
    template <typename View>
    admin::Handler showing(View view) {
        return [self = shared_from_this(), view](const Request&, const Respond& respond) {
            self->node_.collect_reports([self, view, respond](const CollectedReports& collected) {
                const Picture picture{*self->node_.snapshot(), collected.reports, collected.silent,
                                      self->loop_.now().wall};
                respond({200, view(*self, picture), {}});
            });
        };
    }

    std::string status(const Picture& picture) const {
        admin::NodeView view;
        view.version = options_.version;
        view.state = name_of(node_.state());
        view.uptime = loop_.now().mono - node_.started();
        view.workers = node_.worker_count();
        const IpAddress& ip = node_.config().node.ip.value;
        if (ip.is_set()) view.ip = ip.text();
        if (options_.offloads) view.offloads = options_.offloads();
        if (options_.access_log) {
            const AccessLog::Status log = options_.access_log();
            view.access_log = {log.target, log.lines, log.dropped, log.error};
        }
        view.last_reload = last_reload_view(node_);
        return admin::status_json(picture, view);
    }

    void reload(const Respond& respond) {
        node_.reload([respond](const LoadOutcome& outcome) {
            const admin::ReloadView view{outcome.ok,     outcome.changed,  outcome.generation,
                                         outcome.errors, outcome.warnings, outcome.worker_errors};
            const uint16_t status = outcome.ok ? 200 : 422;
            respond({status, admin::reload_json(view), {}});
        });
    }

    // Answered before it is done: after it there is nobody left to answer.
    void drain(const Respond& respond) {
        respond({202, admin::state_json("draining"), {}});
        node_.drain();
    }
    void stop(const Respond& respond) {
        respond({202, admin::state_json("stopping"), {}});
        node_.stop();
    }

  private:
    Node& node_;
    ControlLoop& loop_;
    ApiOptions options_;
};

}  // namespace

void serve_api(admin::Server& server, Node& node, ControlLoop& loop, ApiOptions options) {
    const auto api = std::make_shared<Api>(node, loop, std::move(options));
    const auto plain = [&api](std::string (*view)(const Picture&)) {
        return api->showing([view](const Api&, const Picture& picture) { return view(picture); });
    };
    server.handle("GET", "/v1/status", api->showing([](const Api& self, const Picture& picture) {
        return self.status(picture);
    }));
    server.handle("GET", "/v1/peers", plain(admin::peers_json));
    server.handle("GET", "/v1/routes", plain(admin::routes_json));
    server.handle("GET", "/v1/backends", plain(admin::backends_json));
    server.handle("GET", "/v1/certs", plain(admin::certs_json));
    server.handle("GET", "/v1/workers", plain(admin::workers_json));
    const auto doing = [&api](void (Api::*action)(const Respond&)) {
        return [api, action](const Request&, const Respond& respond) { ((*api).*action)(respond); };
    };
    server.handle("POST", "/v1/reload", doing(&Api::reload));
    server.handle("POST", "/v1/drain", doing(&Api::drain));
    server.handle("POST", "/v1/stop", doing(&Api::stop));
}

}  // namespace sluice::control
