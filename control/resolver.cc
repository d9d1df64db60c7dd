#include "control/resolver.h"

#include <ares.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "control/log.h"
#include "dataplane/base/check.h"

namespace sluice::control {

struct Resolver::Channel {
    ares_channel handle = nullptr;
    ~Channel() {
        if (handle != nullptr) ares_destroy(handle);  // ends what is under way
    }
};

namespace {

// The library counts its users; it is never taken down, because that would have to wait for the
// last of them.
bool library_is_ready() {
    static const bool kReady = ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS;
    return kReady;
}

std::vector<IpAddress> addresses_in(const ares_addrinfo& result) {
    std::vector<IpAddress> addresses;
    for (const ares_addrinfo_node* node = result.nodes; node != nullptr; node = node->ai_next) {
        if (node->ai_family == AF_INET) {
            const auto* v4 = reinterpret_cast<const sockaddr_in*>(node->ai_addr);
            addresses.push_back(
                IpAddress::v4(reinterpret_cast<const uint8_t*>(&v4->sin_addr.s_addr)));
        } else if (node->ai_family == AF_INET6) {
            const auto* v6 = reinterpret_cast<const sockaddr_in6*>(node->ai_addr);
            addresses.push_back(IpAddress::v6(v6->sin6_addr.s6_addr).unmapped());
        }
    }
    return addresses;
}

Duration ttl_of(const ares_addrinfo& result) {
    int ttl = INT32_MAX;
    for (const ares_addrinfo_node* node = result.nodes; node != nullptr; node = node->ai_next)
        ttl = std::min(ttl, node->ai_ttl);
    return std::chrono::seconds(ttl);
}

bool is_of(const IpAddress& address, int family) {
    return family == AF_INET ? address.is_v4() : address.is_v6();
}

// The family that was known and is not found any more; AF_UNSPEC: none.
int family_gone(const std::vector<IpAddress>& known, const std::vector<IpAddress>& found) {
    for (const int family : {AF_INET, AF_INET6}) {
        const auto is_of_it = [family](const IpAddress& each) { return is_of(each, family); };
        if (std::ranges::any_of(known, is_of_it) && std::ranges::none_of(found, is_of_it))
            return family;
    }
    return AF_UNSPEC;
}

void sort_out(std::vector<IpAddress>& addresses) {
    std::ranges::sort(addresses);
    addresses.erase(std::ranges::unique(addresses).begin(), addresses.end());
}

std::string text_of(const std::vector<IpAddress>& addresses) {
    std::string text;
    for (const IpAddress& address : addresses)
        text.append(text.empty() ? "" : ", ").append(address.text());
    return text;
}

}  // namespace

Resolver::Resolver(ControlLoop& loop, Random& random, ResolverOptions options, Changed changed)
    : loop_(loop), random_(random), options_(std::move(options)), changed_(std::move(changed)) {}

Resolver::~Resolver() {
    for (auto& [name, entry] : names_)
        loop_.cancel(entry.timer);
    names_.clear();  // answers that come now are nobody's
    channel_.reset();
    loop_.cancel(timer_);
}

bool Resolver::open_channel() {
    if (renew_channel_ && open_lookups_ == 0) channel_.reset();
    if (channel_ != nullptr) return true;
    renew_channel_ = false;
    if (!library_is_ready()) return false;
    ares_options settings{};
    settings.timeout = static_cast<int>(
        std::chrono::duration_cast<std::chrono::milliseconds>(options_.timeout).count());
    settings.tries = 2;
    settings.sock_state_cb_data = this;
    settings.sock_state_cb = [](void* self, ares_socket_t descriptor, int readable, int writable) {
        static_cast<Resolver*>(self)->on_socket(descriptor, readable != 0, writable != 0);
    };
    auto channel = std::make_unique<Channel>();
    if (ares_init_options(&channel->handle, &settings,
                          ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB) !=
        ARES_SUCCESS) {
        channel->handle = nullptr;
        return false;
    }
    if (!options_.servers.empty() &&
        ares_set_servers_ports_csv(channel->handle, options_.servers.c_str()) != ARES_SUCCESS)
        return false;
    channel_ = std::move(channel);
    return true;
}

void Resolver::follow(const std::set<std::string>& names) {
    std::erase_if(names_, [&](auto& entry) {
        if (names.contains(entry.first)) return false;
        loop_.cancel(entry.second.timer);
        book_.addresses.erase(entry.first);
        return true;
    });
    for (const std::string& name : names) {
        if (names_.try_emplace(name).second) look_up(name);
    }
}

void Resolver::look_up(const std::string& name) {
    Name& entry = names_.at(name);
    entry.timer = 0;
    entry.number = next_number_++;
    if (!open_channel()) return failed(name, entry, "the resolver cannot be made");
    ask(name, entry, AF_UNSPEC);
}

void Resolver::ask(const std::string& name, const Name& entry, int family) {
    ares_addrinfo_hints hints{};
    hints.ai_family = family;
    hints.ai_socktype = SOCK_STREAM;  // or each address would come once for each type
    hints.ai_flags = ARES_AI_NOSORT;
    ++open_lookups_;
    // May answer at once, by /etc/hosts.
    ares_getaddrinfo(channel_->handle, name.c_str(), nullptr, &hints, on_answer,
                     new Lookup{this, name, entry.number, family});
    set_timer();
}

void Resolver::on_answer(void* argument, int status, int, ares_addrinfo* result) {
    const std::unique_ptr<Lookup> lookup(static_cast<Lookup*>(argument));
    --lookup->resolver->open_lookups_;
    lookup->resolver->take(*lookup, status, result);
    if (result != nullptr) ares_freeaddrinfo(result);
}

void Resolver::take(const Lookup& lookup, int status, const ares_addrinfo* result) {
    const auto found = names_.find(lookup.name);
    // Nobody wants it any more, or it is wanted again since.
    if (found == names_.end() || found->second.number != lookup.number) return;
    Name& entry = found->second;
    if (lookup.family != AF_UNSPEC) return take_family(lookup, entry, status, result);
    if (status != ARES_SUCCESS || result == nullptr)
        return failed(lookup.name, entry, ares_strerror(status));
    std::vector<IpAddress> addresses = addresses_in(*result);
    if (addresses.empty()) return failed(lookup.name, entry, "it has no address");

    entry.pause = std::clamp<Duration>(ttl_of(*result), options_.ttl_min, options_.ttl_max);
    if (const int gone = family_gone(book_.addresses[lookup.name], addresses); gone != AF_UNSPEC) {
        entry.found = std::move(addresses);
        return ask(lookup.name, entry, gone);
    }
    entry.half_since.reset();
    accept(lookup.name, entry, std::move(addresses));
}

// The answer, or none, about the family that the answer about both had nothing of.
void Resolver::take_family(const Lookup& lookup, Name& entry, int status,
                           const ares_addrinfo* result) {
    std::vector<IpAddress> addresses = std::exchange(entry.found, {});
    const bool answered = status == ARES_SUCCESS && result != nullptr;
    if (answered) {
        const std::vector<IpAddress> more = addresses_in(*result);
        addresses.insert(addresses.end(), more.begin(), more.end());
        entry.pause = std::clamp<Duration>(ttl_of(*result), options_.ttl_min, entry.pause);
    }
    if (answered || status == ARES_ENODATA || status == ARES_ENOTFOUND) {
        entry.half_since.reset();
        return accept(lookup.name, entry, std::move(addresses));
    }
    const Instant now = loop_.now().mono;
    if (!entry.half_since) {
        log::warning("only some addresses of the name " + lookup.name + " can be looked up: " +
                     ares_strerror(status) + "; the others are kept for now");
        entry.half_since = now + entry.pause;
    }
    if (now < *entry.half_since + options_.half_kept) {
        for (const IpAddress& each : book_.addresses[lookup.name])
            if (is_of(each, lookup.family)) addresses.push_back(each);
    }
    renew_channel_ = true;
    accept(lookup.name, entry, std::move(addresses));
}

void Resolver::accept(const std::string& name, Name& entry, std::vector<IpAddress> addresses) {
    entry.number = 0;
    sort_out(addresses);
    look_up_later(name, entry, entry.pause);
    std::vector<IpAddress>& known = book_.addresses[name];
    if (std::exchange(entry.failures, 0) > 0 && !known.empty())
        log::info("the name " + name + " can be looked up again");
    if (known == addresses) return;
    log::info("the name " + name + " stands for " + text_of(addresses));
    known = std::move(addresses);
    publish();
}

void Resolver::failed(const std::string& name, Name& entry, const std::string& why) {
    entry.number = 0;
    renew_channel_ = true;
    const auto known = book_.addresses.find(name);
    const bool has_addresses = known != book_.addresses.end() && !known->second.empty();
    if (entry.failures == 0) {
        log::warning("the name " + name + " cannot be looked up: " + why +
                     (has_addresses ? "; its last addresses are kept"
                                    : "; servers of this name get no requests until it can"));
    }
    const Duration pause =
        std::min(options_.retry_max, options_.retry_min * (1 << std::min(entry.failures, 10U)));
    ++entry.failures;
    look_up_later(name, entry, pause);
}

// Up to a tenth earlier, so that names which were first asked for together are not for ever.
void Resolver::look_up_later(const std::string& name, Name& entry, Duration pause) {
    const auto spread = static_cast<uint64_t>((pause / 10).count());
    const Duration earlier(static_cast<int64_t>(random_.below(spread + 1)));
    entry.timer = loop_.after(pause - earlier, [this, name] { look_up(name); });
}

void Resolver::publish() {
    changed_(std::make_shared<const contract::AddressBook>(book_));
}

void Resolver::on_socket(int descriptor, bool readable, bool writable) {
    if (!readable && !writable) {
        if (sockets_.erase(descriptor) > 0) loop_.forget(descriptor);
        return;
    }
    const uint32_t events = (readable ? EPOLLIN : 0U) | (writable ? EPOLLOUT : 0U);
    if (!sockets_.insert(descriptor).second) return loop_.change(descriptor, events);
    loop_.watch(descriptor, events, [this, descriptor](uint32_t ready) {
        const bool read = (ready & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0;
        const bool write = (ready & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0;
        process(read ? descriptor : ARES_SOCKET_BAD, write ? descriptor : ARES_SOCKET_BAD);
    });
}

void Resolver::process(int readable, int writable) {
    if (channel_ == nullptr) return;
    ares_process_fd(channel_->handle, readable, writable);
    set_timer();
}

void Resolver::set_timer() {
    loop_.cancel(std::exchange(timer_, 0));
    timeval left{};
    if (channel_ == nullptr || ares_timeout(channel_->handle, nullptr, &left) == nullptr) return;
    const Duration wait = std::chrono::seconds(left.tv_sec) +
                          std::chrono::microseconds(left.tv_usec) + std::chrono::milliseconds(1);
    timer_ = loop_.after(wait, [this] {
        timer_ = 0;
        process(ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    });
}

}  // namespace sluice::control
