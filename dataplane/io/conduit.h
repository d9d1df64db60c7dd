// Bytes from one socket to another through a pipe, by splice(2): the pipe holds references to the
// pages that the network card filled, and user space never touches them.
//
// Pipes cost two descriptors and a table of pages, so an engine keeps a few that are empty, and
// never has more than kPipesMax out; who gets none copies.
// Thread: the engine's.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "dataplane/base/byte_stream.h"
#include "dataplane/io/descriptor.h"

namespace sluice::io {

class Socket;

struct Pipe {
    Descriptor from;  // its reading end
    Descriptor into;  // its writing end
    size_t held = 0;
};

class PipePool {
  public:
    // A transfer beyond these is as good without: so many at once share a core that each of them is
    // slow, and the descriptors are wanted for connections.
    static constexpr size_t kPipesMax = 256;
    // Kept open although nobody uses them.
    static constexpr size_t kReserve = 32;
    // The usual 64 KiB are 16 pages, and one packet takes a page: 16 packets for each call. Four
    // times that is about what one turn gives to a connection.
    static constexpr int kPipeBytes = 256 * 1024;

    // Not open: no pipe can be had.
    Pipe lease();
    // An empty one is kept; what another one holds is lost.
    void give_back(Pipe pipe);

  private:
    std::vector<Pipe> spare_;
    size_t leased_ = 0;
    bool ready_ = false;
};

class SocketConduit final : public Conduit {
  public:
    // Null: no pipe can be had.
    static std::unique_ptr<SocketConduit> between(Socket& source, Socket& sink, PipePool& pipes);
    ~SocketConduit() override;

    IoResult fill(size_t bytes_max) override;
    IoResult drain() override;
    size_t held() const override { return pipe_.held; }

  private:
    SocketConduit(Socket& source, Socket& sink, PipePool& pipes, Pipe pipe)
        : source_(source), sink_(sink), pipes_(pipes), pipe_(std::move(pipe)) {}

    Socket& source_;
    Socket& sink_;
    PipePool& pipes_;
    Pipe pipe_;
};

}  // namespace sluice::io
