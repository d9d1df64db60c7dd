// The head of a request of HTTP/2, put together field by field and written as one of HTTP/1.1.
//
// libnghttp2 has checked the fields one by one and the pseudo-header fields as a whole (RFC 9113
// section 8.3); here is the second lock: nothing that could end a line of HTTP/1.1 early gets into
// one. What the request then means is decided where it is decided for HTTP/1.1.
//
// Thread: any. Memory: strings that keep their capacity, so that one object serves all connections
// of a worker. Source: RFC 9113 section 8, RFC 8441 section 5.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace sluice::http {

class Http2RequestHead {
  public:
    // A new head. `size_max`: of all fields, as SETTINGS_MAX_HEADER_LIST_SIZE counts them (RFC 9113
    // section 6.5.2); `count_max`: regular fields, the pieces of a cookie being one.
    void begin(size_t size_max, size_t count_max);
    // False: the request is malformed.
    bool add(std::string_view name, std::string_view value);

    bool too_large() const { return too_large_; }
    bool to_head() const { return method_ == "HEAD"; }
    // The request asks for a tunnel of another protocol, as HTTP/1.1 does with Upgrade.
    bool upgrades() const { return method_ == "CONNECT" && protocol_ == "websocket"; }
    bool has_length() const { return has_length_; }

    // Appends the head. `ended`: no body follows. A body whose length is not known is announced in
    // chunks. `key`: for Sec-WebSocket-Key, if it upgrades().
    void write(bool ended, std::string_view key, std::string& out) const;

  private:
    bool add_pseudo(std::string_view name, std::string_view value);

    std::string method_;
    std::string scheme_;
    std::string authority_;
    std::string path_;
    std::string protocol_;
    std::string host_;
    std::string cookie_;
    std::string lines_;
    size_t size_left_ = 0;
    size_t count_left_ = 0;
    bool too_large_ = false;
    bool has_host_ = false;
    bool hosts_differ_ = false;
    bool has_length_ = false;
};

}  // namespace sluice::http
