// When the kernel encrypts what a connection sends: what is configured, what this kernel can do,
// and how often it was done.
//
// The handshake and small answers stay in user space, where a record costs one call less and no
// change of hands; a connection goes over to the kernel, for good, with the first body that is long
// enough to be worth it (Stream::conduit_from).
// Thread: the worker's.
#pragma once

#include <cstdint>
#include <vector>

#include "dataplane/base/bytes.h"
#include "dataplane/base/counters.h"
#include "dataplane/contract/snapshot.h"

namespace sluice::tls {

struct ConnectionNotes;

struct KernelTls {
    contract::Wanted wanted = contract::Wanted::kAuto;
    bool transmit = false;  // the kernel can
    bool new_keys = false;  // and can change the keys of a connection (Linux 6.14)
    Counter uses;           // connections that went over

    // The shortest body for which a connection goes over: 64 full records. Going over costs four
    // derivations and three calls, of which one makes a cipher in the kernel: some 50 us, of the
    // 400 us and more that it takes to read, encrypt and write so much. Lower, and the many
    // connections that fetch one page would pay and win nothing; much higher, and downloads of a
    // few megabytes would gain nothing either. Variable so that tests can be short.
    uint64_t bytes_min = uint64_t{1} << 20;

    bool usable() const { return transmit && wanted != contract::Wanted::kOff; }
};

// A record of another type than data that OpenSSL made while the kernel encrypts.
struct ControlRecord {
    uint8_t type;
    std::vector<uint8_t> content;

    bool is_key_update() const;
};

// What OpenSSL's message callback says of our direction.
void note_sent(ConnectionNotes& notes, int type, Bytes content);

}  // namespace sluice::tls
