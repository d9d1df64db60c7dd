// What it costs to take heads and chunks apart and to write a head.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "dataplane/wire/http1_chunked.h"
#include "dataplane/wire/http1_message.h"
#include "dataplane/wire/http1_writer.h"

namespace sluice::wire {
namespace {

// What curl sends, and what a browser sends.
const std::string kSmall =
    "GET /index.html HTTP/1.1\r\nHost: happy.k2.k8s.best\r\nUser-Agent: curl/7.88.1\r\n"
    "Accept: */*\r\n\r\n";
const std::string kBrowser =
    "GET /app/api/v1/items?page=3&order=desc HTTP/1.1\r\nHost: happy.k2.k8s.best\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Language: en-GB,en;q=0.8,de;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    "Referer: https://happy.k2.k8s.best/app/\r\nConnection: keep-alive\r\n"
    "Cookie: session=" +
    std::string(180, 'x') +
    "; theme=dark; consent=1\r\n"
    "Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-Site: same-origin\r\nPriority: u=0, i\r\n\r\n";

void parse(benchmark::State& state, const std::string& head) {
    std::vector<Http1Field> storage(100);
    for (auto unused : state) {
        Http1HeadScanner scanner;
        benchmark::DoNotOptimize(scanner.scan(as_bytes(head), Http1Kind::kRequest, {}));
        const auto request = parse_request_head(as_bytes(head).first(scanner.head_size()), storage);
        benchmark::DoNotOptimize(request->fields.size());
    }
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * head.size()));
}
BENCHMARK_CAPTURE(parse, curl, kSmall);
BENCHMARK_CAPTURE(parse, browser, kBrowser);

void write(benchmark::State& state, const std::string& head) {
    std::vector<Http1Field> storage(100);
    const auto request = parse_request_head(as_bytes(head), storage);
    std::vector<uint8_t> into(16384);
    for (auto unused : state) {
        Http1HeadWriter writer(into);
        writer.request_line(request->method, request->target, {});
        for (const Http1Field& field : request->fields)
            writer.field(field.name, field.value);
        writer.end();
        benchmark::DoNotOptimize(writer.ok());
    }
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * head.size()));
}
BENCHMARK_CAPTURE(write, browser, kBrowser);

void dechunk(benchmark::State& state) {
    const auto size = static_cast<uint32_t>(state.range(0));
    std::string input;
    while (input.size() < 16384) {
        input += Http1ChunkPrefix(size).text();
        input += std::string(size, 'x');
        input += kHttp1ChunkSuffix;
    }
    for (auto unused : state) {
        Http1ChunkedDecoder decoder;
        Bytes rest = as_bytes(input);
        while (!rest.empty()) {
            const auto step = decoder.next(rest);
            rest = rest.subspan(step.consumed);
            benchmark::DoNotOptimize(step.payload.data());
        }
    }
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * input.size()));
}
BENCHMARK(dechunk)->Arg(16)->Arg(1024)->Arg(16000);

}  // namespace
}  // namespace sluice::wire
