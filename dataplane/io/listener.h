// Listening TCP sockets: how they are opened, and the part of accepting that both engines share.
#pragma once

#include <memory>

#include "dataplane/io/engine_core.h"

namespace sluice::io {

Result<Descriptor> open_listener(const ListenOptions& options);

// Turns accepted sockets into Accepted, and decides what an error of accept means.
class Listener : public Acceptor, protected Watcher {
  public:
    ~Listener() override;
    Endpoint local() const override { return local_; }

  protected:
    Listener(EngineCore& engine, Descriptor socket, AcceptHandler& handler);

    // Gives a new connection to the handler. False: the listener was destroyed by it.
    bool hand_over(Descriptor socket, const Endpoint& remote);
    // The error is about one connection that is gone already; the next one may be fine.
    static bool is_about_one_connection(int error);
    // Out of descriptors or memory: nothing is accepted until this time. The kernel keeps the
    // waiting connections, and trying again at once would spin, because they stay ready.
    void pause();
    bool is_paused() const { return engine_.now().mono < paused_until_; }

    EngineCore& engine_;
    Descriptor socket_;
    SlotId id_ = kNoSlot;

  private:
    AcceptHandler& handler_;
    Endpoint local_;
    bool local_is_wildcard_;
    Instant paused_until_ = Instant::min();
    bool* destroyed_ = nullptr;
};

// Over readiness: accept4 until there is nothing more.
class ReadinessListener final : public Listener {
  public:
    // Null and an errno: it cannot be watched.
    static std::unique_ptr<Acceptor> start(EngineCore& engine, Descriptor socket,
                                           AcceptHandler& handler, int& error);

  private:
    using Listener::Listener;
    void on_ready(uint32_t events) override;
};

}  // namespace sluice::io
