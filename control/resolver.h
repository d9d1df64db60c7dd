// Where the servers are that the configuration knows by name: looked up again and again, as the TTL
// of the answers says.
//
// The machine's own ways count: /etc/hosts, then the DNS servers and search domains of
// /etc/resolv.conf. All A and AAAA addresses of a name are taken. A name that cannot be looked up
// keeps its last addresses and is tried again, less and less often.
//
// A and AAAA are two questions, and the library takes an answer to one of them for the whole. So
// when the addresses of one family are gone, that family is asked for once more by itself: if there
// is no answer, what was known of it is kept for a while.
//
// Thread: the control loop's; nothing here blocks but the reading of /etc/hosts. Memory: a handful
// of strings for each name. Failure: a warning when a name's lookups begin to fail, a line when
// they work again.
// Source: RFC 1035 section 3.2.1 (TTL), RFC 2308 (there may be none); the c-ares library.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "control/control_loop.h"
#include "dataplane/base/random.h"
#include "dataplane/contract/snapshot.h"

struct ares_addrinfo;

namespace sluice::control {

struct ResolverOptions {
    // "127.0.0.1:5353,[::1]:53" instead of the machine's own; empty: those.
    std::string servers;
    // A TTL below it would have us ask all the time; one beyond it would hide a change for longer
    // than anybody waits.
    Duration ttl_min = std::chrono::seconds(1);
    Duration ttl_max = std::chrono::minutes(5);
    // After failures in a row the pause doubles from the first to the second.
    Duration retry_min = std::chrono::seconds(1);
    Duration retry_max = std::chrono::minutes(1);
    // For an answer of each server, twice.
    Duration timeout = std::chrono::seconds(2);
    // How long addresses of one family are kept, beyond their TTL, while only the other one can be
    // looked up. As long as the longest TTL that counts: a DNS server that is broken for less is
    // not noticed, and after more the addresses may be somebody else's.
    Duration half_kept = std::chrono::minutes(5);
};

class Resolver {
  public:
    using Changed = std::function<void(std::shared_ptr<const contract::AddressBook>)>;

    // References outlive the resolver. `changed` is called with the whole book when the addresses
    // of any name are other ones than before.
    Resolver(ControlLoop& loop, Random& random, ResolverOptions options, Changed changed);
    ~Resolver();
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;

    // These names from now on. New ones are looked up at once, the others as is due.
    void follow(const std::set<std::string>& names);

  private:
    struct Channel;
    struct Name {
        uint64_t number = 0;           // of the lookup that is under way; 0: none
        std::vector<IpAddress> found;  // while the other family is asked for by itself
        Duration pause{};              // after that, until the next lookup
        // While one family cannot be looked up: when the TTL of what was known of it ran out.
        std::optional<Instant> half_since;
        uint32_t failures = 0;
        ControlLoop::TimerId timer = 0;
    };
    struct Lookup {
        Resolver* resolver;
        std::string name;
        uint64_t number;
        int family;
    };

    bool open_channel();
    void look_up(const std::string& name);
    void ask(const std::string& name, const Name& entry, int family);
    static void on_answer(void* argument, int status, int timeouts, ares_addrinfo* result);
    void take(const Lookup& lookup, int status, const ares_addrinfo* result);
    void take_family(const Lookup& lookup, Name& entry, int status, const ares_addrinfo* result);
    void accept(const std::string& name, Name& entry, std::vector<IpAddress> addresses);
    void failed(const std::string& name, Name& entry, const std::string& why);
    void look_up_later(const std::string& name, Name& entry, Duration pause);
    void on_socket(int descriptor, bool readable, bool writable);
    void process(int readable, int writable);
    void set_timer();
    void publish();

    ControlLoop& loop_;
    Random& random_;
    ResolverOptions options_;
    Changed changed_;
    std::unique_ptr<Channel> channel_;  // null: to be made with the next lookup
    std::set<int> sockets_;
    std::map<std::string, Name> names_;
    contract::AddressBook book_;
    uint64_t next_number_ = 1;
    size_t open_lookups_ = 0;
    bool renew_channel_ = false;  // the machine's DNS servers may be other ones by now
    ControlLoop::TimerId timer_ = 0;
};

}  // namespace sluice::control
