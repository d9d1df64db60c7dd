#include "control/cli/client.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>

#include "dataplane/wire/http1_message.h"

namespace sluice::cli {

namespace {

// Longer than the node waits for anything, so that its own explanation comes first.
constexpr time_t kAnswerSecondsMax = 70;
// The list of ten thousand routes is 2 MiB.
constexpr size_t kAnswerBytesMax = 256 * 1024 * 1024;

class Descriptor {
  public:
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (number_ >= 0) ::close(number_);
    }
    int number() const { return number_; }

  private:
    int number_;
};

std::unexpected<Error> cannot_connect(const std::string& socket) {
    switch (errno) {
        case ENOENT:
        case ECONNREFUSED:
            return fail("no node is running at " + socket +
                        "; start one with `sluice run --config FILE`, or name its socket with "
                        "--socket");
        case EACCES:
        case EPERM:
            return fail("no permission to speak to the node at " + socket +
                        "; run this as root or as the node's own user");
        default:
            return fail("cannot speak to the node at " + socket + ": " + std::strerror(errno));
    }
}

std::unexpected<Error> not_understood(const std::string& socket) {
    return fail("what answers at " + socket +
                " is not a sluice node; name its socket with --socket");
}

// The head was found complete at `head_size`; the body ends with the connection.
Result<Answer> parse_answer(const std::string& socket, const std::string& bytes) {
    wire::Http1HeadScanner scanner;
    const wire::Http1Limits limits;
    if (scanner.scan(as_bytes(bytes), wire::Http1Kind::kResponse, limits) !=
        wire::Http1HeadScanner::Result::kComplete) {
        return not_understood(socket);
    }
    std::array<wire::Http1Field, 32> storage;
    const size_t head_size = scanner.head_size();
    const auto head = wire::parse_response_head(as_bytes(bytes).first(head_size), storage);
    if (!head) return not_understood(socket);
    std::optional<size_t> length;
    for (const wire::Http1Field& field : head->fields) {
        if (!wire::equals_ignoring_case(field.name, "content-length")) continue;
        size_t value = 0;
        const char* const last = field.value.data() + field.value.size();
        const auto [end, error] = std::from_chars(field.value.data(), last, value);
        if (error == std::errc() && end == last) length = value;
    }
    if (!length) return not_understood(socket);
    if (bytes.size() - head_size < *length) {
        return fail("the node at " + socket + " left in the middle of its answer; ask again");
    }
    return Answer{head->status, bytes.substr(head_size, *length)};
}

}  // namespace

Result<Answer> ask(const std::string& socket, std::string_view method, std::string_view path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (socket.empty() || socket.size() >= sizeof address.sun_path) {
        return fail("the path of a socket has 1 to 107 bytes; " + std::to_string(socket.size()) +
                    " were given");
    }
    socket.copy(address.sun_path, socket.size());
    const Descriptor connection(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connection.number() < 0) return cannot_connect(socket);
    const timeval most{kAnswerSecondsMax, 0};
    setsockopt(connection.number(), SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    setsockopt(connection.number(), SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most);
    if (::connect(connection.number(), reinterpret_cast<const sockaddr*>(&address),
                  sizeof address) != 0) {
        return cannot_connect(socket);
    }
    const std::string request = std::string(method) + " " + std::string(path) +
                                " HTTP/1.1\r\nHost: sluice\r\nContent-Length: 0\r\n\r\n";
    // A node that refuses us may have answered and closed already; so only the answer decides.
    [[maybe_unused]] const ssize_t sent =
        ::send(connection.number(), request.data(), request.size(), MSG_NOSIGNAL);
    std::string bytes;
    std::array<char, 65536> piece;
    while (true) {
        const ssize_t got = ::recv(connection.number(), piece.data(), piece.size(), 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) {
            return fail("the node at " + socket + " does not answer; see its log");
        }
        if (got <= 0) break;
        bytes.append(piece.data(), static_cast<size_t>(got));
        if (bytes.size() > kAnswerBytesMax) return not_understood(socket);
    }
    if (bytes.empty()) {
        return fail("the node at " + socket + " left without an answer; see its log");
    }
    return parse_answer(socket, bytes);
}

}  // namespace sluice::cli
