#include "control/node_tunnel.h"

#include <cerrno>
#include <iterator>
#include <utility>

#include "control/log.h"

namespace sluice::control {

TunnelReport tunnel_report(CollectedReports collected) {
    TunnelReport together;
    for (contract::WorkerReport& report : collected.reports) {
        if (report.wireguard_port != 0) together.port = report.wireguard_port;
        std::move(report.peers.begin(), report.peers.end(), std::back_inserter(together.peers));
    }
    return together;
}

int answer_of(const LoadOutcome& outcome) {
    for (const std::string& error : outcome.errors)
        log::error(error);
    for (const std::string& error : outcome.worker_errors)
        log::error(error);
    // The only thing that a worker can refuse here is a port, or a mark, that cannot be had.
    return outcome.ok && outcome.worker_errors.empty() ? 0 : EADDRINUSE;
}

void NodeTunnel::report(Report done) {
    node_.collect_reports([done = std::move(done)](CollectedReports collected) {
        TunnelReport together = tunnel_report(std::move(collected));
        done(together.port, std::move(together.peers));
    });
}

void NodeTunnel::apply(contract::WireguardConfig config, std::function<void(int error)> done) {
    node_.change_tunnel(std::move(config), [done = std::move(done)](const LoadOutcome& outcome) {
        done(answer_of(outcome));
    });
}

}  // namespace sluice::control
