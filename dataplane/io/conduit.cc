#include "dataplane/io/conduit.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "dataplane/base/check.h"
#include "dataplane/io/socket.h"

namespace sluice::io {

Pipe PipePool::lease() {
    if (!std::exchange(ready_, true)) {
        // A splice into a socket whose peer has closed raises SIGPIPE and has no flag against it.
        // The error says the same.
        sigset_t signals;
        sigemptyset(&signals);
        sigaddset(&signals, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    }
    Pipe pipe;
    if (leased_ >= kPipesMax) return pipe;
    if (!spare_.empty()) {
        pipe = std::move(spare_.back());
        spare_.pop_back();
    } else {
        std::array<int, 2> ends{};
        if (pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) != 0) return pipe;
        pipe.from = Descriptor(ends[0]);
        pipe.into = Descriptor(ends[1]);
        // Refused where this user has very many pipes; then it works in smaller steps.
        fcntl(pipe.into.get(), F_SETPIPE_SZ, kPipeBytes);
    }
    ++leased_;
    return pipe;
}

void PipePool::give_back(Pipe pipe) {
    --leased_;
    if (pipe.held == 0 && spare_.size() < kReserve) spare_.push_back(std::move(pipe));
}

std::unique_ptr<SocketConduit> SocketConduit::between(Socket& source, Socket& sink,
                                                      PipePool& pipes) {
    Pipe pipe = pipes.lease();
    if (!pipe.from.is_open()) return nullptr;
    return std::unique_ptr<SocketConduit>(new SocketConduit(source, sink, pipes, std::move(pipe)));
}

SocketConduit::~SocketConduit() {
    pipes_.give_back(std::move(pipe_));
}

IoResult SocketConduit::fill(size_t bytes_max) {
    // A pipe with something in it may say EAGAIN because it is full, which no event would end.
    SLUICE_CHECK(pipe_.held == 0);
    const IoResult result =
        source_.splice_into(pipe_.into.get(), std::min<size_t>(bytes_max, PipePool::kPipeBytes));
    pipe_.held += result.bytes;
    return result;
}

IoResult SocketConduit::drain() {
    SLUICE_CHECK(pipe_.held > 0);
    const IoResult result = sink_.splice_out_of(pipe_.from.get(), pipe_.held);
    pipe_.held -= result.bytes;
    return result;
}

}  // namespace sluice::io
