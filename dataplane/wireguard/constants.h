// The numbers of the protocol, and ours.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dataplane/base/time.h"

namespace sluice::wireguard {

using std::chrono::milliseconds;
using std::chrono::seconds;

// ---- The protocol's (the paper, sections 5.4 and 6). Both ends must agree; never change them.
// ----

inline constexpr std::string_view kConstruction = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
inline constexpr std::string_view kIdentifier = "WireGuard v1 zx2c4 Jason@zx2c4.com";
inline constexpr std::string_view kLabelMac1 = "mac1----";
inline constexpr std::string_view kLabelCookie = "cookie--";

// A session is replaced when its initiator sends after this, ...
inline constexpr Duration kRekeyAfterTime = seconds(120);
// ... or after this many messages, and is not used at all after these.
inline constexpr uint64_t kRekeyAfterMessages = uint64_t{1} << 60;
inline constexpr Duration kRejectAfterTime = seconds(180);
inline constexpr uint64_t kRejectAfterMessages = UINT64_MAX - (uint64_t{1} << 13);

inline constexpr Duration kRekeyTimeout = seconds(5);       // between initiations to one peer
inline constexpr Duration kRekeyAttemptTime = seconds(90);  // then a handshake is given up
inline constexpr Duration kKeepaliveTimeout = seconds(10);  // received data, sent nothing

// Nothing came back on what we sent: the other end may have lost the session.
inline constexpr Duration kNewHandshakeTime = kKeepaliveTimeout + kRekeyTimeout;
// The initiator refreshes a session that it only receives on so early that the responder, whose
// keepalives and retries all happen to be late, is still heard before kRejectAfterTime.
inline constexpr Duration kRekeyOnReceiveTime =
    kRejectAfterTime - kKeepaliveTimeout - kRekeyTimeout;
// Without a new session for this long, all keys of a peer are wiped.
inline constexpr Duration kZeroKeysTime = 3 * kRejectAfterTime;

inline constexpr Duration kCookieSecretLifetime = seconds(120);
inline constexpr size_t kPaddingMultiple = 16;

// ---- Ours. The other end cannot tell, or does not care. ----

// Retries are spread over a third of a second, as in Linux, so that two ends that began at the same
// moment do not go on colliding. More only delays; none lets collisions repeat.
inline constexpr Duration kJitterMax = milliseconds(334);

// One accepted initiation per peer in this time, as in Linux: 50 a second of one peer are no
// traveller but an attack with a recorded key, and each costs four X25519 operations.
inline constexpr Duration kInitiationInterval = milliseconds(20);
// Our own timestamps are rounded down to this, so that they do not tell how our clock ticks. It is
// the largest power of two below kInitiationInterval: coarser would make honest initiations equal.
inline constexpr uint32_t kTimestampGranularityNs = 1u << 24;

// What the wall clock may gain or lose between two handshakes without being called a jump: more
// than any correction by small steps. Larger lets a clock that is wrong by so much through at once.
inline constexpr Duration kClockSlewMax = seconds(60);
// How long a jump must have stood before our timestamps follow it: a wrong time server is found out
// within minutes, and to follow late costs nothing.
inline constexpr Duration kClockTrustedAfter = seconds(600);
// A clock before 2020 was never set; when it is, that is no jump.
inline constexpr Duration kClockPlausible = seconds(1'577'836'800);

// Counters behind the highest that are still accepted: the 8192-bit window of Linux, less the word
// that is being filled. At 10 Gbit/s it spans 10 ms of reordering; smaller windows drop on paths
// with several queues, larger ones cost 1 KB per doubling and session.
inline constexpr size_t kReplayWindowBits = 8192;

// Packets that wait for a handshake, per peer, as in Linux: a TCP flight. And for all peers of a
// device together, in bytes, so that thousands of silent peers cannot hold the worker's memory.
inline constexpr size_t kStagedMax = 128;
inline constexpr size_t kStagedBytesMax = 4u << 20;

// A cookie we were given is used a little shorter than the giver honours it: its way to us took
// time.
inline constexpr Duration kCookieLatency = seconds(5);

// Outer DSCP of handshake messages: AF41, as in Linux, so that a full link lets them through first.
inline constexpr uint8_t kHandshakeTos = 0x88;

// Under load when more than this many handshake messages with a valid first MAC come in one window:
// each costs a worker about 0.2 ms, so 64 in 100 ms are an eighth of its time. Then sources must
// prove themselves with a cookie until it has been calm for kLoadHold. Lower makes honest restarts
// of a large network take a round trip more; higher lets strangers take more of the worker.
inline constexpr Duration kLoadWindow = milliseconds(100);
inline constexpr uint32_t kLoadMessagesMax = 64;
inline constexpr Duration kLoadHold = seconds(1);

// Handshake messages of one proven source under load, as in Linux: 20 a second, 5 at once.
inline constexpr uint32_t kSourceMessagesPerSecond = 20;
inline constexpr uint32_t kSourceBurst = 5;
// Sources remembered. One is forgotten as soon as its tokens are full again (a quarter second), so
// this is 32,000 different proven sources a second; beyond it new ones are refused.
inline constexpr size_t kSourcesMax = 8192;

}  // namespace sluice::wireguard
