// What is told of a request when it is over, whatever became of it.
// Thread: the worker's. Memory: the record and its views are good during the call only.
#pragma once

#include <cstdint>
#include <string_view>

#include "dataplane/base/byte_stream.h"
#include "dataplane/base/ip.h"
#include "dataplane/base/time.h"

namespace sluice::http {

struct AccessRecord {
    WallTime begun{};
    Endpoint client;
    std::string_view peer;  // of the tunnel; empty: none
    std::string_view user;  // who forward-auth says it is; empty: not asked, or not said
    // Of the client certificate that was proved for this request; empty: none was asked for.
    std::string_view certificate_subject;
    std::string_view certificate_serial;  // as in ClientCertificatePolicy::serials
    const TlsFacts* tls = nullptr;
    uint8_t http_major = 1;  // as the client spoke it
    uint8_t http_minor = 1;
    // Of the request; empty where its head was not understood.
    std::string_view method;
    std::string_view host;
    std::string_view path;  // the one that was routed, without the query, which may hold secrets
    // Empty: it did not come so far.
    std::string_view route;
    std::string_view backend;
    std::string_view server;  // the last one that was asked
    uint32_t tries = 0;       // how often a server was asked

    uint16_t status = 0;        // of the final response; 0: none was sent
    bool cut_off = false;       // it broke off, by whosoever's fault
    bool upgraded = false;      // to WebSocket
    Duration until_response{};  // from the head's end to the final response's head; 0: none came
    Duration total{};
    uint64_t bytes_received = 0;  // of the request's body, without its framing
    uint64_t bytes_sent = 0;      // to the client, heads and framing included
};

// Must not wait for anything.
class AccessLog {
  public:
    virtual void record(const AccessRecord& record) = 0;

  protected:
    ~AccessLog() = default;
};

}  // namespace sluice::http
