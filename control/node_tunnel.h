// The node's tunnel as wg(8) sees and changes it. What wg(8) changes is served until the next
// reload, which brings back what the configuration file says. Thread: the loop's.
#pragma once

#include <cstdint>
#include <vector>

#include "control/node.h"
#include "control/uapi/server.h"

namespace sluice::control {

// What all workers report of the tunnel, put together.
struct TunnelReport {
    uint16_t port = 0;  // that is listened on; 0: none
    std::vector<contract::PeerReport> peers;
};
TunnelReport tunnel_report(CollectedReports collected);

// What wg(8) is to hear of a change: 0, or an errno. What went wrong goes to the log, for people.
int answer_of(const LoadOutcome& outcome);

class NodeTunnel final : public uapi::Interface {
  public:
    // The node has a tunnel and outlives this.
    explicit NodeTunnel(Node& node) : node_(node) {}

    const contract::WireguardConfig& config() const override {
        return *node_.snapshot()->wireguard;
    }
    void report(Report done) override;
    void apply(contract::WireguardConfig config, std::function<void(int error)> done) override;

  private:
    Node& node_;
};

}  // namespace sluice::control
