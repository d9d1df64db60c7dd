#include "dataplane/tls/server_name.h"

namespace sluice::tls {
namespace {

constexpr size_t kNameMax = 253;  // as text, without the trailing dot
constexpr size_t kLabelMax = 63;
constexpr uint8_t kTypeHostName = 0;

}  // namespace

std::optional<Bytes> host_name_in(Bytes extension) {
    constexpr size_t kHeader = 2 + 1 + 2;  // length of the list, type and length of the name
    if (extension.size() <= kHeader) return std::nullopt;
    if (load_be16(extension.data()) != extension.size() - 2) return std::nullopt;
    if (extension[2] != kTypeHostName) return std::nullopt;
    if (load_be16(extension.data() + 3) != extension.size() - kHeader) return std::nullopt;
    return extension.subspan(kHeader);
}

std::optional<std::string> canonical_host(Bytes name) {
    if (!name.empty() && name.back() == '.') name = name.first(name.size() - 1);
    if (name.empty() || name.size() > kNameMax) return std::nullopt;
    std::string host;
    host.reserve(name.size());
    size_t label = 0;
    for (const uint8_t byte : name) {
        char c = static_cast<char>(byte);
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
        const bool in_label =
            (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!in_label && c != '.') return std::nullopt;
        label = in_label ? label + 1 : 0;
        const bool empty_label = !in_label && (host.empty() || host.back() == '.');
        if (label > kLabelMax || empty_label) return std::nullopt;
        host.push_back(c);
    }
    if (host.back() == '.') return std::nullopt;  // two trailing dots
    return host;
}

}  // namespace sluice::tls
