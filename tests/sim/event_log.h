// What happened, in order: as a hash always, as text on demand. Two runs of a seed are the same run
// if their hashes agree.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "dataplane/base/bytes.h"
#include "dataplane/base/time.h"

namespace sluice::sim {

class EventLog {
  public:
    struct Line {
        Instant at;
        uint32_t node;
        std::string text;
    };

    // `keep_text`: lines are kept; formatting them costs several times the run itself.
    explicit EventLog(bool keep_text) : keep_text_(keep_text) {}

    void mix(uint64_t word) {
        hash_ = (hash_ ^ word) * 0x9e3779b97f4a7c15u;
        hash_ ^= hash_ >> 29;
    }
    void mix(Bytes bytes);
    uint64_t hash() const { return hash_; }

    bool keeps_text() const { return keep_text_; }
    // `text` is called only if text is kept.
    template <typename Text>
    void line(Instant at, uint32_t node, Text text) {
        if (keep_text_) lines_.push_back({at, node, text()});
    }
    const std::vector<Line>& lines() const { return lines_; }
    static void print(const Line& line, std::FILE* out);

  private:
    bool keep_text_;
    uint64_t hash_ = 0;
    std::vector<Line> lines_;
};

}  // namespace sluice::sim
