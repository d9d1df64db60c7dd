#include "dataplane/http/health_probe.h"

#include <array>

#include "dataplane/http/upstream_pool.h"

namespace sluice::http {

namespace {

// More headers than any honest answer to a health check has.
constexpr size_t kFieldsMax = 100;
constexpr size_t kHeadMax = 16 * 1024;
// An interval of nothing would keep the worker busy with questions alone.
constexpr Duration kIntervalMin = std::chrono::milliseconds(100);

}  // namespace

HealthProbe::HealthProbe(UpstreamPool& pool, Server& server, contract::HealthCheck check)
    : pool_(pool), server_(server), check_(std::move(check)) {
    pool_.timers().set(*this, pool_.now().mono);
}

HealthProbe::~HealthProbe() {
    if (stream_ != nullptr) stream_->set_handler(nullptr);
}

void HealthProbe::on_timer(Now now) {
    if (stream_ != nullptr) return conclude(false, "no answer to the health check in time");
    ask(now);
}

void HealthProbe::ask(Now now) {
    const std::string& host = check_.host.empty() ? server_.config().host : check_.host;
    question_ = "GET " + check_.path + " HTTP/1.1\r\nHost: " + host +
                "\r\nUser-Agent: sluice-health-check\r\nAccept: */*\r\nConnection: close\r\n\r\n";
    sent_ = 0;
    answer_.clear();
    scanner_.reset();
    pool_.timers().set(*this, now.mono + check_.timeout);
    stream_ = pool_.open(server_);
    if (stream_ == nullptr) return conclude(false, "it cannot be connected to");
    stream_->set_handler(this);
    on_stream_ready();
}

void HealthProbe::on_stream_ready() {
    if (!send()) return;
    receive();
}

// False: it is over.
bool HealthProbe::send() {
    while (sent_ < question_.size()) {
        const Bytes rest = as_bytes(question_).subspan(sent_);
        const IoResult result = stream_->write(std::array{rest});
        if (result.status == IoStatus::kWouldBlock) return true;
        if (result.status != IoStatus::kOk) {
            const std::string why(stream_->failure());
            conclude(false, why.empty() ? "it cannot be connected to" : std::string_view(why));
            return false;
        }
        sent_ += result.bytes;
    }
    stream_->flush();
    return true;
}

void HealthProbe::receive() {
    std::array<uint8_t, 2048> part;
    for (;;) {
        const IoResult result = stream_->read(part);
        if (result.status == IoStatus::kWouldBlock) return;
        if (result.status != IoStatus::kOk) {
            const std::string why(stream_->failure());
            return conclude(false, why.empty() ? "the connection ended without an answer to the "
                                                 "health check"
                                               : std::string_view(why));
        }
        answer_ += as_text(Bytes(part).first(result.bytes));
        for (bool interim = true; interim;) {
            interim = false;
            const auto scanned =
                scanner_.scan(as_bytes(answer_), wire::Http1Kind::kResponse, {kHeadMax});
            if (scanned == wire::Http1HeadScanner::Result::kFault)
                return conclude(false, "the answer to the health check is not valid HTTP");
            if (scanned == wire::Http1HeadScanner::Result::kMore) break;
            const size_t size = scanner_.head_size();
            // "HTTP/1.1 1xx": the answer is yet to come.
            if (size > 12 && answer_[9] == '1') {
                answer_.erase(0, size);
                scanner_.reset();
                interim = true;
                continue;
            }
            return judge(as_bytes(answer_).first(size));
        }
    }
}

void HealthProbe::judge(Bytes head) {
    std::array<wire::Http1Field, kFieldsMax> fields;
    const auto parsed = wire::parse_response_head(head, fields);
    if (!parsed) return conclude(false, "the answer to the health check is not valid HTTP");
    const bool good = parsed->status >= 200 && parsed->status < 400;
    conclude(good, good ? std::string()
                        : "the health check was answered with " + std::to_string(parsed->status));
}

void HealthProbe::conclude(bool good, std::string_view reason) {
    const Now now = pool_.now();
    server_.probed(good, reason, check_, now);
    if (stream_ != nullptr) stream_->set_handler(nullptr);
    stream_.reset();
    const Duration interval = std::max(check_.interval, kIntervalMin);
    const auto spread = static_cast<uint64_t>((interval / 5).count());
    const Duration jitter(static_cast<int64_t>(pool_.random().below(spread + 1)));
    pool_.timers().set(*this, now.mono + interval - interval / 10 + jitter);
}

}  // namespace sluice::http
