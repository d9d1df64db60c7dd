#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <memory>

#include "dataplane/base/check.h"
#include "dataplane/crypto/aead_functions.h"

namespace sluice::crypto {

namespace {

// Looking an algorithm up by name costs microseconds, so it is done once for the whole process.
EVP_CIPHER* chacha20_poly1305() {
    static EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr);
    SLUICE_CHECK(cipher != nullptr);
    return cipher;
}

// One context for all keys of a thread: a context is 1 KB, and a key costs 30 ns to put in, which
// only a packet under another key than the last one's pays.
class ThreadContext {
  public:
    ThreadContext() { make(); }
    ~ThreadContext() { EVP_CIPHER_CTX_free(context_); }
    ThreadContext(const ThreadContext&) = delete;
    ThreadContext& operator=(const ThreadContext&) = delete;

    // Everything but the last call of an operation. OpenSSL counts in int; no packet comes near it.
    EVP_CIPHER_CTX* start(const Secret<32>& key, bool encrypt, uint64_t counter,
                          const OSSL_PARAM* params, Bytes additional) {
        const bool is_new = !has_key_ || !(key == last_key_);
        if (is_new) {
            last_key_ = key;
            has_key_ = true;
        }
        const Nonce nonce = nonce_of(counter);
        SLUICE_CHECK(EVP_CipherInit_ex2(context_, nullptr, is_new ? key.data() : nullptr,
                                        nonce.data(), encrypt ? 1 : 0, params) == 1);
        int written = 0;
        if (!additional.empty()) {
            SLUICE_CHECK(EVP_CipherUpdate(context_, nullptr, &written, additional.data(),
                                          static_cast<int>(additional.size())) == 1);
        }
        return context_;
    }

    // The library wipes what it frees; giving the context back is therefore the surest way to leave
    // no trace of the key, of the last one-time Poly1305 key or of a part of the key stream. The
    // next one is made at once, so that packets never wait for memory.
    void forget() {
        if (!has_key_) return;
        last_key_.clear();
        has_key_ = false;
        EVP_CIPHER_CTX_free(context_);
        make();
    }

  private:
    void make() {
        context_ = EVP_CIPHER_CTX_new();
        SLUICE_CHECK(context_ != nullptr);
        SLUICE_CHECK(
            EVP_CipherInit_ex2(context_, chacha20_poly1305(), nullptr, nullptr, 1, nullptr) == 1);
    }

    EVP_CIPHER_CTX* context_ = nullptr;
    Secret<32> last_key_;
    bool has_key_ = false;
};

// A plain pointer beside its owner: reading it takes no check whether the owner was made yet.
constinit thread_local ThreadContext* current = nullptr;

struct Owner {
    std::unique_ptr<ThreadContext> context;
    ~Owner() { current = nullptr; }
};

void prepare_thread() {
    if (current != nullptr) return;
    thread_local Owner owner;
    owner.context = std::make_unique<ThreadContext>();
    current = owner.context.get();
}

ThreadContext& context() {
    // A key that was set on another thread, and the first one here.
    if (current == nullptr) [[unlikely]]
        prepare_thread();
    return *current;
}

void encrypt_or_decrypt(EVP_CIPHER_CTX* context, Bytes in, uint8_t* out) {
    int written = 0;
    if (in.empty()) return;
    SLUICE_CHECK(EVP_CipherUpdate(context, out, &written, in.data(), static_cast<int>(in.size())) ==
                 1);
    SLUICE_CHECK(static_cast<size_t>(written) == in.size());
}

void seal(const Secret<32>& key, uint64_t counter, Bytes additional, Bytes plain,
          MutableBytes out) {
    EVP_CIPHER_CTX* const cipher = context().start(key, true, counter, nullptr, additional);
    encrypt_or_decrypt(cipher, plain, out.data());
    int written = 0;
    SLUICE_CHECK(EVP_CipherFinal_ex(cipher, out.data() + plain.size(), &written) == 1);
    OSSL_PARAM tag[] = {{OSSL_CIPHER_PARAM_AEAD_TAG, OSSL_PARAM_OCTET_STRING,
                         out.data() + plain.size(), kTagSize, OSSL_PARAM_UNMODIFIED},
                        OSSL_PARAM_END};
    SLUICE_CHECK(EVP_CIPHER_CTX_get_params(cipher, tag) == 1);
}

bool unseal(const Secret<32>& key, uint64_t counter, Bytes additional, Bytes sealed,
            MutableBytes out) {
    // The tag goes in with the nonce: one call less per packet than setting it afterwards. The
    // library copies it, so decrypting in place over it is no danger.
    const OSSL_PARAM tag[] = {
        {OSSL_CIPHER_PARAM_AEAD_TAG, OSSL_PARAM_OCTET_STRING,
         const_cast<uint8_t*>(sealed.data() + out.size()), kTagSize, OSSL_PARAM_UNMODIFIED},
        OSSL_PARAM_END};
    EVP_CIPHER_CTX* const cipher = context().start(key, false, counter, tag, additional);
    encrypt_or_decrypt(cipher, sealed.first(out.size()), out.data());
    int written = 0;
    uint8_t nothing = 0;
    return EVP_CipherFinal_ex(cipher, &nothing, &written) == 1;
}

void seal_batch(const Secret<32>& key, std::span<AeadPacket> packets) {
    for (const AeadPacket& packet : packets)
        seal(key, packet.counter, {}, packet.in, packet.out);
}

size_t unseal_batch(const Secret<32>& key, std::span<AeadPacket> packets) {
    size_t count = 0;
    for (AeadPacket& packet : packets) {
        packet.opened = unseal(key, packet.counter, {}, packet.in, packet.out);
        count += packet.opened ? 1 : 0;
    }
    return count;
}

}  // namespace

const AeadFunctions& openssl_aead() {
    static constexpr AeadFunctions kFunctions{prepare_thread, seal, unseal, seal_batch,
                                              unseal_batch};
    return kFunctions;
}

void forget_keys_in_openssl() {
    if (current != nullptr) current->forget();
}

}  // namespace sluice::crypto
