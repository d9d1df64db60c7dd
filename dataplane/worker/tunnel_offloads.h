// What the configuration's switches of the tunnel's speed-ups mean to the rooms that have them, and
// what became of the cipher's.
// Thread: any.
#pragma once

#include "dataplane/contract/report.h"
#include "dataplane/contract/snapshot.h"
#include "dataplane/io/datagram_port.h"

namespace sluice::worker {

io::DatagramPortOptions datagram_port_options(const contract::OffloadConfig& config, uint16_t port);

// Decides for the whole process which library seals and opens packets, after its self-test. Before
// the workers start; without it, the first key decides as for kAuto.
void choose_cipher(contract::AeadLibrary library);

// "aead_ipsec_mb"; the uses are those of the calling thread.
contract::OffloadReport cipher_report();

}  // namespace sluice::worker
