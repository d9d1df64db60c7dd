// The backend in effect; only for the files of this room. Null until choose_aead() was called.
// Thread: any.
#pragma once

#include <atomic>

#include "dataplane/crypto/aead_functions.h"

namespace sluice::crypto {

extern std::atomic<const AeadFunctions*> chosen_aead;

}  // namespace sluice::crypto
