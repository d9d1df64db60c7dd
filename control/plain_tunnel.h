// A WireGuard interface that is nothing else, as wg(8) and ip(8) see it: the configuration is what
// wg(8) made it, and the workers serve it while the interface is up and has a private key.
// Otherwise it is silent, as WireGuard in the kernel is: the workers then have no peers, so that
// nothing is sent, answered or taken in. What was counted and learned of the peers is kept here.
//
// Thread: the loop's. Failure: what the workers refuse leaves everything as it was.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/node.h"
#include "control/uapi/server.h"

namespace sluice::control {

// What ip(8) does to an interface.
struct LinkState {
    bool is_up = false;
    uint16_t mtu = 1420;

    friend bool operator==(const LinkState&, const LinkState&) = default;
};

class PlainTunnel final : public uapi::Interface {
  public:
    // Has the node serve the interface, with no keys and no peers as yet. The node outlives this.
    PlainTunnel(Node& node, const std::string& interface, LinkState link);

    void set_link(LinkState link);

    const contract::WireguardConfig& config() const override { return config_; }
    void report(Report done) override;
    // One at a time, as uapi::Server asks.
    void apply(contract::WireguardConfig config, std::function<void(int error)> done) override;

  private:
    struct Change {
        contract::WireguardConfig config;
        std::function<void(int error)> done;
    };

    static bool is_silent(const contract::WireguardConfig& config, const LinkState& link);
    static contract::WireguardConfig served(contract::WireguardConfig config,
                                            const LinkState& link);
    // Brings the workers to what is wanted, unless that is on its way already.
    void follow();
    void send();
    void finish(const LoadOutcome& outcome);
    // Before the workers' peers go.
    void remember(const std::vector<contract::PeerReport>& peers);
    void forget_removed_peers();
    void add_remembered(std::vector<contract::PeerReport>& peers) const;

    Node& node_;
    contract::WireguardConfig config_;
    LinkState link_;
    LinkState served_link_;         // that the workers know of, or are being told
    bool is_served_ = false;        // the workers have the peers
    bool is_following_ = false;     // a change is on its way to them
    std::optional<Change> change_;  // that wg(8) waits for
    // Of peers that the workers do not have, or have had before.
    std::map<contract::Key, contract::PeerReport> remembered_;
    // The node may call back after this is gone.
    std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace sluice::control
