#include "dataplane/tls/certificate_index.h"

namespace sluice::tls {
namespace {

constexpr std::string_view kWildcard = "*.";

}  // namespace

CertificateIndex::SetPtr CertificateIndex::join(const SetPtr& set, const SetPtr& more,
                                                Joined& joined) {
    const auto& added = more->certificates.front();
    if (set->has_key_type(added->key_type())) return set;
    SetPtr& whole = joined[{set.get(), more.get()}];
    if (!whole) {
        auto certificates = set->certificates;
        certificates.push_back(added);
        whole = std::make_shared<const CertificateSet>(std::move(certificates));
    }
    return whole;
}

CertificateIndex::CertificateIndex(std::vector<Entry> entries) : entries_(std::move(entries)) {
    Joined joined;
    for (const Entry& entry : entries_) {
        for (const std::string& host : entry.config->hosts) {
            const bool is_wildcard = host.starts_with(kWildcard);
            ByHost& hosts = is_wildcard ? wildcard_ : exact_;
            const auto [place, is_new] =
                hosts.try_emplace(is_wildcard ? host.substr(kWildcard.size()) : host, entry.alone);
            if (!is_new) place->second = join(place->second, entry.alone, joined);
        }
    }
    if (entries_.empty()) return;
    without_name_ = entries_.front().alone;
    const auto& hosts = entries_.front().config->hosts;
    if (hosts.empty()) return;
    const bool is_wildcard = hosts.front().starts_with(kWildcard);
    without_name_ = is_wildcard ? wildcard_.at(hosts.front().substr(kWildcard.size()))
                                : exact_.at(hosts.front());
}

const CertificateSet* CertificateIndex::find(std::string_view host) const {
    if (const auto found = exact_.find(host); found != exact_.end()) return found->second.get();
    const size_t dot = host.find('.');
    if (dot == std::string_view::npos) return nullptr;
    const auto found = wildcard_.find(host.substr(dot + 1));
    return found != wildcard_.end() ? found->second.get() : nullptr;
}

}  // namespace sluice::tls
