// Which certificates answer which server name. Immutable once built.
// Memory: the names, and one hash entry for each.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dataplane/contract/snapshot.h"
#include "dataplane/tls/certificate.h"

namespace sluice::tls {

class CertificateIndex {
  public:
    // A configured certificate with what was parsed from it. Holding the configuration keeps its
    // address from being used again, so equal addresses do mean equal content.
    struct Entry {
        std::shared_ptr<const contract::CertificateConfig> config;
        std::shared_ptr<const CertificateSet> alone;
    };

    CertificateIndex() = default;
    // Of several certificates for one host, the first of each type of key counts.
    explicit CertificateIndex(std::vector<Entry> entries);

    // By canonical host: exact, else a wildcard for all but the first label. Null: none covers it.
    const CertificateSet* find(std::string_view host) const;
    // For clients that ask for no name: the first certificate, with those that stand beside it for
    // its first host. Null: there are no certificates.
    const CertificateSet* without_name() const { return without_name_.get(); }

    const std::vector<Entry>& entries() const { return entries_; }

  private:
    struct TextHash {
        using is_transparent = void;
        size_t operator()(std::string_view text) const {
            return std::hash<std::string_view>{}(text);
        }
    };
    using SetPtr = std::shared_ptr<const CertificateSet>;
    using ByHost = std::unordered_map<std::string, SetPtr, TextHash, std::equal_to<>>;
    // The sets that were joined out of a set and one more certificate: one object for all the hosts
    // that two certificates share.
    using Joined = std::map<std::pair<const CertificateSet*, const CertificateSet*>, SetPtr>;

    static SetPtr join(const SetPtr& set, const SetPtr& more, Joined& joined);

    std::vector<Entry> entries_;
    ByHost exact_;
    ByHost wildcard_;  // by what follows "*."
    SetPtr without_name_;
};

}  // namespace sluice::tls
