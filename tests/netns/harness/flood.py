"""Floods a node with handshake messages from forged addresses; a program of its own, so that it takes its time from
nobody but the machine.

    python3 flood.py NODE-ADDRESS PORT NODE-PUBLIC-KEY MESSAGES-A-SECOND (right|wrong)

The last word is about the first MAC. It sends until SIGTERM; SIGSTOP makes a pause.
"""

import os
import random
import signal
import socket
import struct
import sys
import time
from base64 import b64decode
from hashlib import blake2s

# Forged senders are out of this network (RFC 6598), which no test uses otherwise.
NETWORK = "100.64.0.0/10"
MESSAGES = 4096  # different ones; then they begin again
INITIATION_SIZE = 148


def in_network(address: str) -> bool:
    return struct.unpack(">I", socket.inet_aton(address))[0] >> 22 == (100 << 24 | 64 << 16) >> 22


def packet(chance: random.Random, node: bytes, port: int, mac1_key: bytes | None) -> bytes:
    message = struct.pack("<I", 1) + chance.randbytes(INITIATION_SIZE - 36)
    mac1 = blake2s(message, key=mac1_key, digest_size=16).digest() if mac1_key else chance.randbytes(16)
    message += mac1 + bytes(16)
    source = struct.pack(">I", 100 << 24 | 64 << 16 | chance.randrange(1, 1 << 22))
    udp = struct.pack(">HHHH", chance.randrange(1024, 65536), port, 8 + len(message), 0)
    # The kernel fills in the header's length and checksum.
    return struct.pack(">BBHHHBBH", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0) + source + node + udp + message


def main() -> None:
    address, port, key, rate, mac1 = sys.argv[1:]
    mac1_key = blake2s(b"mac1----" + b64decode(key)).digest() if mac1 == "right" else None
    chance = random.Random(os.getpid())
    packets = [packet(chance, socket.inet_aton(address), int(port), mac1_key) for _ in range(MESSAGES)]
    out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    batch = max(1, int(rate) // 200)
    next_at, number = time.monotonic(), 0
    print("floods", flush=True)
    while True:
        for _ in range(batch):
            try:
                out.sendto(packets[number % MESSAGES], (address, 0))
            except OSError:
                pass  # a full queue; it is a flood
            number += 1
        # What was missed in a pause is not made up for.
        next_at = max(next_at + batch / int(rate), time.monotonic() - 0.01)
        time.sleep(max(0.0, next_at - time.monotonic()))


if __name__ == "__main__":
    main()
