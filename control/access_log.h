// The far end of the access log: takes lines out of the workers' rings and writes them to stdout or
// to a file, on a thread of its own, so that a slow or full disk holds up nobody else. What it does
// not take in time is dropped by the workers, which count it.
//
// Thread: made, used and destroyed on control's; it makes its own. Failure: what cannot be opened
// or written is told once in the log and kept for status, lines are lost and counted, and it is
// tried again with the next lines.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/base/line_ring.h"

namespace sluice::control {

class AccessLog {
  public:
    // Both outlive the log. `rings`: one for each worker.
    AccessLog(std::vector<LineRing*> rings, Doorbell& bell);
    // Writes what is in the rings, unless whoever reads stdout does not.
    ~AccessLog();
    AccessLog(const AccessLog&) = delete;
    AccessLog& operator=(const AccessLog&) = delete;

    // "off", "stdout" or a path, as the configuration has it. A file is opened again even if it is
    // the one before, because it may have been moved away (logrotate).
    void write_to(const std::string& target);

    struct Status {
        std::string target = "off";
        uint64_t lines = 0;    // written
        uint64_t dropped = 0;  // by workers without room, or by a disk that did not take them
        std::string error;     // of the last attempt; empty: it went well
    };
    Status status() const;

  private:
    class Output;

    void run();
    // False: there was nothing in the rings.
    bool write_what_is_there();
    void write_all_to_output(Bytes lines);
    void reopen();
    void note(const std::string& error);

    const std::vector<LineRing*> rings_;
    Doorbell& bell_;
    std::atomic<bool> stopping_{false};
    std::atomic<bool> reopen_{false};
    std::atomic<uint64_t> lines_{0};
    std::atomic<uint64_t> lost_{0};

    mutable std::mutex mutex_;  // guards these two
    std::string target_ = "off";
    std::string error_;

    // The thread's own.
    std::unique_ptr<Output> output_;
    bool off_ = true;
    std::vector<uint8_t> buffer_;
    std::thread thread_;
};

}  // namespace sluice::control
