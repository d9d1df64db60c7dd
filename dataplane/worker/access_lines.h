// The access log of one worker: each record becomes one line of JSON in a ring, which control
// empties. Nothing waits: without room the line is dropped, and the ring counts it.
//
// Whatever bytes a client sent, a line is valid JSON in ASCII: what JSON has to escape is escaped,
// and a byte above 127 is written as the code point of the same number, so that nothing depends on
// what encoding it was in. Long texts are cut (control/README.md has the fields).
//
// Thread: the worker's. Memory: one buffer, from the start.
// Source: RFC 8259 section 7.
#pragma once

#include <string>

#include "dataplane/base/line_ring.h"
#include "dataplane/http/access_log.h"

namespace sluice::worker {

class AccessLines final : public http::AccessLog {
  public:
    // `ring` outlives it.
    AccessLines(LineRing& ring, uint32_t worker);

    void record(const http::AccessRecord& record) override;

    // The line without its ring, for tests. Valid until the next call.
    std::string_view line_of(const http::AccessRecord& record);

  private:
    void add_text(std::string_view key, std::string_view text);
    void add_time(std::string_view key, WallTime time);
    void add_number(std::string_view key, uint64_t number);
    void add_milliseconds(std::string_view key, Duration duration);
    void add_key(std::string_view key);
    void add_tls(const TlsFacts& tls);

    LineRing& ring_;
    uint32_t worker_;
    std::string line_;
};

}  // namespace sluice::worker
