// What both ends of HTTP/2 in memory send: header blocks, and bodies that grow while a test goes
// on.
#pragma once

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/base/bytes.h"

namespace sluice::http::testing {

using Http2Fields = std::vector<std::pair<std::string, std::string>>;

inline std::string value_in(const Http2Fields& fields, const std::string& name) {
    for (const auto& [field, value] : fields)
        if (field == name) return value;
    return "";
}

// Views of the fields.
inline std::vector<nghttp2_nv> block_of(const Http2Fields& fields) {
    std::vector<nghttp2_nv> block;
    for (const auto& [name, value] : fields)
        block.push_back({const_cast<uint8_t*>(as_bytes(name).data()),
                         const_cast<uint8_t*>(as_bytes(value).data()), name.size(), value.size(),
                         0});
    return block;
}

struct Http2Outgoing {
    std::string bytes;
    size_t sent = 0;
    bool ended = false;
    Http2Fields trailers;

    // For libnghttp2's read callback.
    ssize_t give(nghttp2_session* session, int32_t id, uint8_t* into, size_t size,
                 uint32_t* flags) {
        const size_t part = std::min(size, bytes.size() - sent);
        std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(sent), part, into);
        sent += part;
        if (sent == bytes.size() && ended) {
            *flags |= NGHTTP2_DATA_FLAG_EOF;
            if (!trailers.empty()) {
                *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
                const auto block = block_of(trailers);
                nghttp2_submit_trailer(session, id, block.data(), block.size());
            }
        } else if (part == 0) {
            return NGHTTP2_ERR_DEFERRED;
        }
        return static_cast<ssize_t>(part);
    }
};

}  // namespace sluice::http::testing
