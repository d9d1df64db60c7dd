// Assertions about our own state. Never about bytes from outside: those are dropped and counted.
// Thread: any. Failure: prints the condition and place on stderr and aborts.
#pragma once

namespace sluice {
[[noreturn]] void check_failed(const char* condition, const char* file, int line);
}  // namespace sluice

// Always on: a process whose own state is wrong must not go on deciding who may pass.
#define SLUICE_CHECK(condition)             \
    (static_cast<bool>(condition) ? void(0) \
                                  : ::sluice::check_failed(#condition, __FILE__, __LINE__))
