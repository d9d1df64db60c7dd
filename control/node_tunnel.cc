#include "control/node_tunnel.h"

#include <cerrno>
#include <utility>

#include "control/log.h"

namespace sluice::control {

void NodeTunnel::report(Report done) {
    node_.collect_reports([done = std::move(done)](CollectedReports collected) {
        uint16_t port = 0;
        std::vector<contract::PeerReport> peers;
        for (contract::WorkerReport& report : collected.reports) {
            if (report.wireguard_port != 0) port = report.wireguard_port;
            std::move(report.peers.begin(), report.peers.end(), std::back_inserter(peers));
        }
        done(port, std::move(peers));
    });
}

void NodeTunnel::apply(contract::WireguardConfig config, std::function<void(int error)> done) {
    node_.change_tunnel(std::move(config), [done = std::move(done)](const LoadOutcome& outcome) {
        for (const std::string& error : outcome.errors)
            log::error(error);
        for (const std::string& error : outcome.worker_errors)
            log::error(error);
        // The only thing that a worker can refuse here is a port, or a mark, that cannot be had.
        const bool refused = !outcome.ok || !outcome.worker_errors.empty();
        done(refused ? EADDRINUSE : 0);
    });
}

}  // namespace sluice::control
