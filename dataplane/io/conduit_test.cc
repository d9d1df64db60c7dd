// Bytes from socket to socket through the kernel, over both engines.
#include "dataplane/io/conduit.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <vector>

#include "dataplane/base/random.h"
#include "dataplane/io/kernel_tls.h"
#include "dataplane/io/socket.h"
#include "dataplane/io/socket_address.h"
#include "dataplane/io/test_engine.h"

namespace sluice::io {

namespace {

std::vector<uint8_t> random_bytes(size_t size, uint64_t seed) {
    std::vector<uint8_t> bytes(size);
    SeededRandom(seed).fill(bytes);
    return bytes;
}

struct Door final : AcceptHandler {
    explicit Door(Engine& engine) {
        auto opened = engine.listen({.address = loopback(0), .interface = {}}, *this);
        if (!opened) throw std::runtime_error(opened.error().message);
        acceptor = std::move(*opened);
    }
    void on_accept(Accepted accepted) override { streams.push_back(std::move(accepted.stream)); }
    std::unique_ptr<Acceptor> acceptor;
    std::vector<std::unique_ptr<ByteStream>> streams;
};

// One connection: `near` is what the product has, `far` belongs to somebody else.
struct Link {
    Link(TestEngine& engine, Door& door) {
        far = *engine.engine->connect(door.acceptor->local());
        REQUIRE(engine.run_until([&] { return !door.streams.empty(); }));
        near = std::move(door.streams.back());
        door.streams.pop_back();
        engine.run_until_idle();
    }
    std::unique_ptr<ByteStream> far;
    std::unique_ptr<ByteStream> near;
};

// Carries a body from one stream to another as a relay does, as far as it goes.
struct Carrier {
    std::unique_ptr<Conduit> conduit;
    size_t left;
    size_t filled_max = 0;
    IoStatus source = IoStatus::kOk;
    IoStatus sink = IoStatus::kOk;

    bool step() {
        if (conduit->held() == 0) {
            if (left == 0) return false;
            const IoResult result = conduit->fill(left);
            source = result.status;
            left -= result.bytes;
            filled_max = std::max(filled_max, result.bytes);
            return result.status == IoStatus::kOk;
        }
        sink = conduit->drain().status;
        return sink == IoStatus::kOk;
    }
    void run() {
        while (step()) {
        }
    }
};

struct Ends {
    // Everything that can be written is written, everything that can be read is read.
    static void write(ByteStream& stream, Bytes& rest) {
        while (!rest.empty()) {
            const IoResult result = stream.write({&rest, 1});
            if (result.status != IoStatus::kOk) return;
            rest = rest.subspan(result.bytes);
        }
    }
    static bool read(ByteStream& stream, std::vector<uint8_t>& into, size_t bytes_max) {
        std::vector<uint8_t> buffer(bytes_max);
        const IoResult result = stream.read(buffer);
        into.insert(into.end(), buffer.begin(),
                    buffer.begin() + static_cast<ptrdiff_t>(result.bytes));
        return result.status == IoStatus::kOk;
    }
};

}  // namespace

TEST_CASE("A conduit carries a body whole, and not one byte more") {
    TestEngine engine(any_engine());
    Door door(*engine.engine);
    Link server(engine, door);
    Link client(engine, door);
    const bool slow = GENERATE(false, true);
    const size_t size = slow ? 3'000'001 : 20'000'003;
    const auto body = random_bytes(size, 1);
    auto sent = body;
    sent.insert(sent.end(), 1000, 'n');  // what follows is somebody else's

    Carrier carrier{client.near->conduit_from(*server.near, size), size};
    REQUIRE(carrier.conduit != nullptr);
    Bytes rest = sent;
    std::vector<uint8_t> received;
    REQUIRE(engine.run_until([&] {
        Ends::write(*server.far, rest);
        carrier.run();
        if (slow) {
            Ends::read(*client.far, received, 100'000);
        } else {
            while (Ends::read(*client.far, received, 1 << 20)) {
            }
        }
        return received.size() >= size;
    }));
    CHECK(received == body);
    CHECK(carrier.left == 0);
    CHECK(carrier.conduit->held() == 0);
    if (!slow) CHECK(carrier.filled_max > 64 * 1024);
    // What follows is still there for a read.
    carrier.conduit.reset();
    std::vector<uint8_t> next;
    REQUIRE(engine.run_until([&] {
        Ends::write(*server.far, rest);
        Ends::read(*server.near, next, 4096);
        return next.size() >= 1000;
    }));
    CHECK(next == std::vector<uint8_t>(1000, 'n'));
}

TEST_CASE("A conduit tells the end of its source and the fault of its sink") {
    TestEngine engine(any_engine());
    Door door(*engine.engine);
    Link server(engine, door);
    Link client(engine, door);
    Carrier carrier{client.near->conduit_from(*server.near, 1'000'000), 1'000'000};
    REQUIRE(carrier.conduit != nullptr);
    carrier.run();
    CHECK(carrier.source == IoStatus::kWouldBlock);
    CHECK(carrier.conduit->held() == 0);

    SECTION("the source ends in the middle") {
        Bytes piece = as_bytes("some");
        Ends::write(*server.far, piece);
        server.far->shutdown_write();
        REQUIRE(engine.run_until([&] {
            carrier.run();
            return carrier.source == IoStatus::kEnd;
        }));
        CHECK(carrier.left == 1'000'000 - 4);
    }
    SECTION("the source breaks") {
        Bytes piece = as_bytes("read by nobody, so its end is a reset");
        Ends::write(*server.near, piece);
        engine.run_until_idle();
        server.far.reset();
        REQUIRE(engine.run_until([&] {
            carrier.run();
            return carrier.source == IoStatus::kError;
        }));
    }
    SECTION("the sink breaks, and no signal ends the process") {
        const auto body = random_bytes(1'000'000, 2);
        Bytes rest = body;
        client.far.reset();
        engine.run_until_idle();
        REQUIRE(engine.run_until([&] {
            Ends::write(*server.far, rest);
            carrier.run();
            return carrier.sink == IoStatus::kError;
        }));
    }
    SECTION("both streams may be gone before it") {
        Bytes piece = as_bytes("held for ever");
        Ends::write(*server.far, piece);
        client.far.reset();
        REQUIRE(engine.run_until(
            [&] { return carrier.conduit->held() > 0 || carrier.conduit->fill(100).bytes > 0; }));
        server.near.reset();
        client.near.reset();
    }
}

TEST_CASE("Pipes are used again, and there is an end to them") {
    PipePool pipes;
    std::vector<Pipe> out;
    for (size_t i = 0; i < PipePool::kPipesMax; ++i) {
        out.push_back(pipes.lease());
        REQUIRE(out.back().from.is_open());
    }
    CHECK_FALSE(pipes.lease().from.is_open());
    const int known = out.back().from.get();
    pipes.give_back(std::move(out.back()));
    out.back() = pipes.lease();
    CHECK(out.back().from.get() == known);
    out.back().held = 1;  // as if something were in it: nobody else may get that
    pipes.give_back(std::move(out.back()));
    out.back() = pipes.lease();
    CHECK(out.back().held == 0);
    for (Pipe& pipe : out)
        pipes.give_back(std::move(pipe));
}

TEST_CASE("Two engines have no conduit between them, nor have other streams") {
    TestEngine engine(any_engine());
    TestEngine other(any_engine());
    Door door(*engine.engine);
    Door other_door(*other.engine);
    Link here(engine, door);
    Link there(other, other_door);
    CHECK(here.near->conduit_from(*there.near, 1'000'000) == nullptr);
}

TEST_CASE("Where the kernel has no TLS a stream stays as it was") {
    const KernelTlsAbility& ability = kernel_tls_ability();
    if (ability.transmit) {
        CHECK(ability.why_not.empty());
        return;
    }
    INFO(ability.why_not);
    CHECK_FALSE(ability.why_not.empty());
    TestEngine engine(any_engine());
    Door door(*engine.engine);
    Link link(engine, door);
    CHECK_FALSE(link.near->encrypt_writes({}));
    CHECK(link.near->write_record(21, as_bytes("xx")).status == IoStatus::kError);
    Bytes piece = as_bytes("as it was");
    Ends::write(*link.near, piece);
    CHECK(link.near->flush());
    std::vector<uint8_t> received;
    REQUIRE(engine.run_until([&] {
        Ends::read(*link.far, received, 100);
        return received.size() == 9;
    }));
    CHECK(as_text(received) == "as it was");
}

}  // namespace sluice::io
