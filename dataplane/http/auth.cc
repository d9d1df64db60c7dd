#include "dataplane/http/auth.h"

#include <algorithm>
#include <optional>

#include "dataplane/wire/http1_message.h"

namespace sluice::http {

using contract::AuthMode;
using Verdict = Access::Verdict;

namespace {

Access refuse(uint16_t status, std::string_view sentence) {
    return {.verdict = Verdict::kRefuse,
            .status = status,
            .sentence = sentence,
            .certificate = nullptr};
}

// A host that is an address is never sent as a server name (RFC 6066 section 3).
bool is_address(std::string_view host) {
    return host.starts_with('[') || IpAddress::parse(host).has_value();
}

// Whether another handshake, for this host, could bring what this connection lacks. To a client
// that asked for this very host already, and was asked for its certificate, it could not, and 421
// would only make it try again and again.
bool new_handshake_could_help(const TlsFacts& facts, std::string_view host) {
    std::string_view name = facts.server_name;
    if (name.ends_with('.')) name.remove_suffix(1);
    if (name != host && !(name.empty() && is_address(host))) return true;
    return !facts.asked_for_certificate && !facts.resumed;
}

Access lacks_certificate(const TlsFacts& facts, std::string_view host, std::string_view sentence) {
    if (new_handshake_could_help(facts, host))
        return refuse(421, "this connection was made for another host");
    return refuse(403, sentence);
}

// "*.example.org" stands for one label.
bool dns_fits(std::string_view entry, std::string_view name) {
    // A certificate for all names of a domain is nobody in particular.
    if (name.find('*') != std::string_view::npos) return false;
    if (!entry.starts_with("*.")) return wire::equals_ignoring_case(entry, name);
    const size_t dot = name.find('.');
    return dot != std::string_view::npos && dot > 0 &&
           wire::equals_ignoring_case(entry.substr(1), name.substr(dot));
}

// Only the domain is the same in any case (RFC 5280 section 7.5).
bool email_fits(std::string_view entry, std::string_view name) {
    const size_t at = entry.rfind('@');
    if (at == std::string_view::npos || at != name.rfind('@')) return false;
    return entry.substr(0, at) == name.substr(0, at) &&
           wire::equals_ignoring_case(entry.substr(at), name.substr(at));
}

bool uri_fits(std::string_view entry, std::span<const std::string> uris) {
    // An SVID has exactly one; of several nobody could say who it is.
    if (entry.starts_with("spiffe://") && uris.size() != 1) return false;
    return std::ranges::find(uris, entry) != uris.end();
}

Access decide_certificate(const contract::RouteConfig& route, const contract::Snapshot& snapshot,
                          ByteStream* client, std::string_view host, WallTime now) {
    const TlsFacts* const facts = client != nullptr ? client->tls_facts() : nullptr;
    if (facts == nullptr || !facts->done)
        return refuse(403, "this address needs a client certificate, and so TLS");
    constexpr std::string_view kUndecided = "client certificates cannot be checked now";
    const auto& policy = route.client_certificate;
    if (!policy || policy->trust >= snapshot.tls.trusts.size()) return refuse(503, kUndecided);
    const auto& trust = snapshot.tls.trusts[policy->trust];
    if (trust == nullptr || !trust->fault.empty()) return refuse(503, kUndecided);

    ClientCertificate* const certificate = client->client_certificate();
    if (certificate == nullptr)
        return lacks_certificate(*facts, host, "this address needs a client certificate");
    switch (certificate->prove(trust, now).verdict) {
        case ClientCertificate::Verdict::kProved:
            break;
        case ClientCertificate::Verdict::kRefused:
            return lacks_certificate(*facts, host,
                                     "the client certificate is not valid for this address");
        case ClientCertificate::Verdict::kUndecided:
            return refuse(503, kUndecided);
    }
    if (!is_listed(*policy, *certificate))
        return lacks_certificate(*facts, host,
                                 "the client certificate is not on this address's list");
    return {.verdict = Verdict::kPass, .status = 200, .sentence = {}, .certificate = certificate};
}

}  // namespace

bool is_listed(const contract::ClientCertificatePolicy& policy,
               const ClientCertificate& certificate) {
    if (policy.uris.empty() && policy.dns.empty() && policy.emails.empty() &&
        policy.serials.empty())
        return true;
    const auto any_fits = [](const auto& entries, const auto& names, auto fits) {
        return std::ranges::any_of(entries, [&](const std::string& entry) {
            return std::ranges::any_of(names,
                                       [&](const std::string& name) { return fits(entry, name); });
        });
    };
    const std::string_view serial = certificate.serial();
    return std::ranges::any_of(
               policy.uris,
               [&](const std::string& entry) { return uri_fits(entry, certificate.uris()); }) ||
           any_fits(policy.dns, certificate.dns(), dns_fits) ||
           any_fits(policy.emails, certificate.emails(), email_fits) ||
           (!serial.empty() && std::ranges::find(policy.serials, serial) != policy.serials.end());
}

Access decide(const contract::RouteConfig& route, const contract::Snapshot& snapshot,
              const Caller& caller, ByteStream* client, std::string_view host, WallTime now) {
    const Access pass{
        .verdict = Verdict::kPass, .status = 200, .sentence = {}, .certificate = nullptr};
    switch (route.auth) {
        case AuthMode::kPublic:
            return pass;
        case AuthMode::kTailscaleOnly:
            if (caller.peer != nullptr) return pass;
            return refuse(403, "only devices of the tunnel may use this address");
        case AuthMode::kTailscaleBypass:
            if (caller.peer != nullptr) return pass;
            if (!route.forward_auth || *route.forward_auth >= snapshot.forward_auths.size())
                return refuse(503, "nobody can be asked who may pass");
            return {.verdict = Verdict::kAsk, .status = 0, .sentence = {}, .certificate = nullptr};
        case AuthMode::kMtlsStrict:
            return decide_certificate(route, snapshot, client, host, now);
    }
    return {};  // a mode that this code does not know
}

}  // namespace sluice::http
