// libipsec-mb's job interface. A job describes one packet; the manager that takes it belongs to one
// thread. ChaCha20-Poly1305 jobs are finished when they have been handed in, so a manager never
// holds one back, and nothing of a key stays in it: jobs point to keys, and the library wipes what
// it derives (asked at start: IMB_FEATURE_SAFE_DATA).
#include "dataplane/crypto/aead_backend.h"
#include "dataplane/crypto/aead_functions.h"

#ifdef SLUICE_IPSEC_MB

#include <intel-ipsec-mb.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "dataplane/base/check.h"

namespace sluice::crypto {

namespace {

using Manager = std::unique_ptr<IMB_MGR, decltype(&free_mb_mgr)>;

// A plain pointer beside its owner: reading it takes no check whether the owner was made yet.
constinit thread_local IMB_MGR* current = nullptr;
constinit thread_local uint64_t packets_done = 0;

// The compiler's test asks the operating system, too, whether it keeps the wide registers; the
// library asks the processor only.
bool has_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512cd");
}

bool has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
}

Manager make_manager() {
    Manager manager(alloc_mb_mgr(0), free_mb_mgr);
    if (manager == nullptr) return manager;
    if (has_avx512()) {
        init_mb_mgr_avx512(manager.get());
    } else {
        init_mb_mgr_avx2(manager.get());
    }
    return manager;
}

void prepare_thread() {
    struct Owner {
        Manager manager = make_manager();
        ~Owner() { current = nullptr; }
    };
    if (current != nullptr) return;
    thread_local Owner owner;
    SLUICE_CHECK(owner.manager != nullptr);
    current = owner.manager.get();
}

IMB_MGR& manager() {
    // A key that was set on another thread, and the first one here.
    if (current == nullptr) [[unlikely]]
        prepare_thread();
    return *current;
}

void describe(IMB_JOB& job, bool encrypt, const Secret<32>& key, const Nonce& nonce,
              Bytes additional, const uint8_t* in, size_t size, uint8_t* out, uint8_t* tag) {
    job.cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
    job.hash_alg = IMB_AUTH_CHACHA20_POLY1305;
    job.cipher_direction = encrypt ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
    job.chain_order = encrypt ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
    job.enc_keys = key.data();
    job.dec_keys = key.data();
    job.key_len_in_bytes = Secret<32>::size();
    job.iv = nonce.data();
    job.iv_len_in_bytes = kNonceSize;
    job.src = in;
    job.dst = out;
    job.cipher_start_src_offset_in_bytes = 0;
    job.hash_start_src_offset_in_bytes = 0;
    job.msg_len_to_cipher_in_bytes = size;
    job.msg_len_to_hash_in_bytes = size;
    job.u.CHACHA20_POLY1305.aad = additional.data();
    job.u.CHACHA20_POLY1305.aad_len_in_bytes = additional.size();
    job.auth_tag_output = tag;
    job.auth_tag_output_len_in_bytes = kTagSize;
}

// The library only computes tags; comparing them is ours. What it computed for a forgery is the tag
// that the forger wants to know.
bool is_same_tag(uint8_t* computed, const uint8_t* received) {
    uint64_t difference = load_le64(computed) ^ load_le64(received);
    difference |= load_le64(computed + 8) ^ load_le64(received + 8);
    if (difference == 0) return true;
    wipe(computed, kTagSize);
    return false;
}

// Handed in as a burst even when it is one: bursts use the same few jobs again and again, single
// ones walk through 51 KB of them.
void finish(IMB_MGR& owner, IMB_JOB** jobs, uint32_t count) {
    SLUICE_CHECK(IMB_SUBMIT_BURST_NOCHECK(&owner, count, jobs) == count);
    packets_done += count;
}

void run_one(bool encrypt, const Secret<32>& key, uint64_t counter, Bytes additional,
             const uint8_t* in, size_t size, uint8_t* out, uint8_t* tag) {
    const Nonce nonce = nonce_of(counter);
    IMB_MGR& owner = manager();
    IMB_JOB* job = nullptr;
    SLUICE_CHECK(IMB_GET_NEXT_BURST(&owner, 1, &job) == 1);
    describe(*job, encrypt, key, nonce, additional, in, size, out, tag);
    finish(owner, &job, 1);
}

void seal(const Secret<32>& key, uint64_t counter, Bytes additional, Bytes plain,
          MutableBytes out) {
    run_one(true, key, counter, additional, plain.data(), plain.size(), out.data(),
            out.data() + plain.size());
}

bool unseal(const Secret<32>& key, uint64_t counter, Bytes additional, Bytes sealed,
            MutableBytes out) {
    std::array<uint8_t, kTagSize> tag;
    run_one(false, key, counter, additional, sealed.data(), out.size(), out.data(), tag.data());
    return is_same_tag(tag.data(), sealed.data() + out.size());
}

// Jobs of one burst: their 6 KB stay in the first cache. The manager would take 128.
constexpr size_t kBurst = 32;

void seal_batch(const Secret<32>& key, std::span<AeadPacket> packets) {
    IMB_MGR& owner = manager();
    std::array<Nonce, kBurst> nonces;
    std::array<IMB_JOB*, kBurst> jobs;
    while (!packets.empty()) {
        const auto some = packets.first(std::min(packets.size(), kBurst));
        const auto count = static_cast<uint32_t>(some.size());
        SLUICE_CHECK(IMB_GET_NEXT_BURST(&owner, count, jobs.data()) == count);
        for (size_t i = 0; i < count; ++i) {
            const AeadPacket& packet = some[i];
            nonces[i] = nonce_of(packet.counter);
            describe(*jobs[i], true, key, nonces[i], {}, packet.in.data(), packet.in.size(),
                     packet.out.data(), packet.out.data() + packet.in.size());
        }
        finish(owner, jobs.data(), count);
        packets = packets.subspan(count);
    }
}

size_t unseal_batch(const Secret<32>& key, std::span<AeadPacket> packets) {
    IMB_MGR& owner = manager();
    std::array<Nonce, kBurst> nonces;
    std::array<std::array<uint8_t, kTagSize>, kBurst> tags;
    std::array<IMB_JOB*, kBurst> jobs;
    size_t authentic = 0;
    while (!packets.empty()) {
        const auto some = packets.first(std::min(packets.size(), kBurst));
        const auto count = static_cast<uint32_t>(some.size());
        SLUICE_CHECK(IMB_GET_NEXT_BURST(&owner, count, jobs.data()) == count);
        for (size_t i = 0; i < count; ++i) {
            const AeadPacket& packet = some[i];
            nonces[i] = nonce_of(packet.counter);
            describe(*jobs[i], false, key, nonces[i], {}, packet.in.data(), packet.out.size(),
                     packet.out.data(), tags[i].data());
        }
        finish(owner, jobs.data(), count);
        for (size_t i = 0; i < count; ++i) {
            AeadPacket& packet = some[i];
            packet.opened = is_same_tag(tags[i].data(), packet.in.data() + packet.out.size());
            authentic += packet.opened ? 1 : 0;
        }
        packets = packets.subspan(count);
    }
    return authentic;
}

std::string why_not() {
    if (!has_avx2()) return "the processor has neither AVX-512 nor AVX2";
    const Manager probe = make_manager();
    if (probe == nullptr) return "libipsec-mb gets no memory";
    if (const int error = imb_get_errno(probe.get()); error != 0) {
        return std::string("libipsec-mb does not start: ") + imb_get_strerror(error);
    }
    const uint64_t features = probe->features;
    if ((features & IMB_FEATURE_SELF_TEST) != 0 && (features & IMB_FEATURE_SELF_TEST_PASS) == 0) {
        return "libipsec-mb fails its own self-test";
    }
    if ((features & IMB_FEATURE_SAFE_DATA) == 0) return "this libipsec-mb does not wipe keys";
    return {};
}

}  // namespace

IpsecMb ipsec_mb_aead() {
    static constexpr AeadFunctions kFunctions{prepare_thread, seal, unseal, seal_batch,
                                              unseal_batch};
    IpsecMb found{.why_not = why_not()};
    if (found.why_not.empty()) found.functions = &kFunctions;
    return found;
}

uint64_t ipsec_mb_packets() {
    return packets_done;
}

}  // namespace sluice::crypto

#else

namespace sluice::crypto {

IpsecMb ipsec_mb_aead() {
    return {.why_not = "libipsec-mb is for x86-64"};
}

uint64_t ipsec_mb_packets() {
    return 0;
}

}  // namespace sluice::crypto

#endif
