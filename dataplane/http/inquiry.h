// A question to somebody else on whose answer it depends what becomes of a request, such as the one
// that forward-auth asks. While it is open nothing of the request is taken or passed on.
//
// Internal to this room. Thread: the worker's. Ownership: the exchange's, which drops it when the
// client hangs up: the destructor must end whatever is under way.
#pragma once

#include <cstddef>

#include "dataplane/base/time.h"

namespace sluice::http {

class Inquiry {
  public:
    virtual ~Inquiry() = default;

    // Goes on as far as it can; true: something moved. Whoever listens to the inquiry's own streams
    // calls ClientConnection::run(), which leads here (and may destroy the inquiry).
    virtual bool pump(size_t& budget) = 0;
    // The answer is there: Exchange::inquiry_ended() is called next, once.
    virtual bool decided() const = 0;

    virtual Instant deadline() const = 0;
    // The deadline has come; the inquiry is decided by that or has a later deadline.
    virtual void on_deadline() = 0;

    // So many bytes behind the request's head, framing included, should be read and kept in the
    // buffer while this is open; more than one large buffer holds cannot be had.
    virtual size_t body_wanted() const { return 0; }
};

}  // namespace sluice::http
