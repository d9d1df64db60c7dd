#include "dataplane/tls/client_policy.h"

#include <map>
#include <set>
#include <utility>

#include "dataplane/base/check.h"

namespace sluice::tls {
namespace {

constexpr std::string_view kWildcard = "*.";

// The CertificateRequest goes to everybody who asks for such a host; ten CAs take about 1 KiB. With
// more than this a client gets no hint and chooses by itself.
constexpr size_t kNamesMax = 4 * 1024;

using Trusts = std::set<uint32_t>;

std::shared_ptr<const ClientPolicy> make_policy(const Trusts& trusts,
                                                const contract::TlsConfig& config,
                                                TrustStores& stores) {
    auto policy = std::make_shared<ClientPolicy>();
    policy->names.reset(sk_X509_NAME_new_null());
    SLUICE_CHECK(policy->names != nullptr);
    // In order, so that the order of the configuration does not count.
    std::set<Digest> demands;
    std::set<Digest> anchors;
    size_t names_size = 0;
    for (const uint32_t index : trusts) {
        const auto store = stores.find(config.trusts[index]);
        demands.insert(store->policy_digest());
        for (const Anchor& anchor : store->anchors()) {
            if (!anchors.insert(anchor.digest).second) continue;
            X509_NAME* const name = X509_NAME_dup(X509_get_subject_name(anchor.certificate.get()));
            SLUICE_CHECK(name != nullptr);
            SLUICE_CHECK(sk_X509_NAME_push(policy->names.get(), name) > 0);
            names_size += 2 + static_cast<size_t>(i2d_X509_NAME(name, nullptr));
        }
    }
    if (names_size > kNamesMax) policy->names.reset();
    std::vector<uint8_t> bytes;
    for (const Digest& demand : demands)
        bytes.insert(bytes.end(), demand.begin(), demand.end());
    SLUICE_CHECK(EVP_Digest(bytes.data(), bytes.size(), policy->digest.data(), nullptr,
                            EVP_sha256(), nullptr) == 1);
    return policy;
}

}  // namespace

ClientPolicyIndex::ClientPolicyIndex(const contract::TlsConfig& config, TrustStores& stores) {
    std::unordered_map<std::string, Trusts> exact;
    std::unordered_map<std::string, Trusts> wildcard;
    Trusts any;
    bool asks_any = false;
    for (const contract::ClientCertificateHost& entry : config.client_certificate_hosts) {
        if (entry.host == "*") asks_any = true;
        Trusts& trusts = entry.host == "*"                   ? any
                         : entry.host.starts_with(kWildcard) ? wildcard[entry.host.substr(2)]
                                                             : exact[entry.host];
        trusts.insert(entry.trusts.begin(), entry.trusts.end());
    }

    std::map<Trusts, PolicyPtr> made;  // hosts with the same trusts share one
    const auto policy_for = [&](const Trusts& trusts) {
        PolicyPtr& policy = made[trusts];
        if (!policy) policy = make_policy(trusts, config, stores);
        return policy;
    };
    for (auto& [suffix, trusts] : wildcard) {
        trusts.insert(any.begin(), any.end());
        wildcard_.emplace(suffix, policy_for(trusts));
    }
    for (auto& [host, trusts] : exact) {
        const size_t dot = host.find('.');
        const auto above =
            dot != std::string::npos ? wildcard.find(host.substr(dot + 1)) : wildcard.end();
        const Trusts& more = above != wildcard.end() ? above->second : any;
        trusts.insert(more.begin(), more.end());
        exact_.emplace(host, policy_for(trusts));
    }
    if (asks_any) any_ = policy_for(any);
}

const ClientPolicy* ClientPolicyIndex::find(std::string_view host) const {
    if (exact_.empty() && wildcard_.empty()) return any_.get();
    if (const auto found = exact_.find(std::string(host)); found != exact_.end()) {
        return found->second.get();
    }
    if (const size_t dot = host.find('.'); dot != std::string_view::npos) {
        const auto found = wildcard_.find(std::string(host.substr(dot + 1)));
        if (found != wildcard_.end()) return found->second.get();
    }
    return any_.get();
}

}  // namespace sluice::tls
