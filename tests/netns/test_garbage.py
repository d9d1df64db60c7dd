"""Garbage on every socket at once. Nothing may crash, grow or stop serving, and what is dropped is counted."""

import hashlib
import os
import random
import socket
import ssl
import struct
import threading
import time
from base64 import b64decode
from typing import Callable

from harness.case import PORT, PUBLIC, ServedTest, on_both_engines
from harness.network import Namespace, Topology
from harness.node import binary

SECONDS = float(os.environ.get("SLUICE_TEST_GARBAGE_SECONDS", 20))
# Sizes of WireGuard's messages: initiation, response, cookie reply, data (at least).
SIZES = {1: 148, 2: 92, 3: 64, 4: 32}


@on_both_engines
class Garbage(ServedTest):
    @classmethod
    def configure(cls, document) -> None:
        # The one who throws and the one who must be served have one address.
        document["limits"] = {"handshakes_per_client": 0, "connections_per_client": 0}

    def test_garbage_on_every_socket(self) -> None:
        public_key = b64decode(self.node_keys().public)
        throwers = [
            lambda chance: throw_datagrams(self.topology.neighbour, Topology.NODE, chance, public_key),
            lambda chance: throw_datagrams(self.topology.neighbour, Topology.NODE6, chance, public_key),
            lambda chance: throw_at_tls(self.topology.neighbour, chance),
            lambda chance: throw_at_http(self.neighbour.tls, chance),
            lambda chance: throw_at_control(os.fspath(self.node.control), chance),
            lambda chance: throw_inner_packets(self.topology.client, chance),
        ]
        threads = [Repeat(thrower, seed) for seed, thrower in enumerate(throwers)]
        for thread in threads:
            thread.start()
        # Buffers and pools fill in the first part; from then on memory has to stay as it is.
        self.serve_for(SECONDS / 3)
        before = self.node.process.resident_bytes()
        self.serve_for(SECONDS * 2 / 3)
        grown = self.node.process.resident_bytes() - before
        for thread in threads:
            thread.end()
        for thread in threads:
            self.assertGreater(thread.times, 10, "a thrower threw nothing")
        # A sanitizer keeps freed memory back for a while; the report says nothing about the node then.
        if b"__asan_init" not in binary().read_bytes():
            self.assertLess(grown, 4 << 20)
        drops = self.node.status()["drops"]
        for reason in ("datagram_too_short", "datagram_bad_type", "datagram_bad_length", "mac1_invalid",
                       "handshake_invalid", "receiver_index_unknown", "tls_handshake_failed",
                       "http_malformed"):
            self.assertGreater(drops.get(reason, 0), 0, f"{reason} in {drops}")
        self.assert_serves()

    def serve_for(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.assertIsNone(self.node.process.exit_code(), "the node ended")
            self.assert_serves()
            self.assertGreaterEqual(self.node.status()["generation"], 1)


class Repeat(threading.Thread):
    """Throws until it is told to end. What the other side does about it is not the thrower's business."""

    def __init__(self, throw: Callable[[random.Random], None], seed: int):
        super().__init__(daemon=True)
        self._throw, self._chance = throw, random.Random(seed)
        self._ending = threading.Event()
        self.times = 0

    def run(self) -> None:
        while not self._ending.is_set():
            try:
                self._throw(self._chance)
            except (OSError, ssl.SSLError):
                pass
            self.times += 1

    def end(self) -> None:
        self._ending.set()
        self.join(30)


def throw_datagrams(source: Namespace, address: str, chance: random.Random, public_key: bytes) -> None:
    """A hundred, from nothing at all to a handshake that only lacks the right key inside."""
    with source.make_socket(socket.SOCK_DGRAM, socket.AF_INET6 if ":" in address else socket.AF_INET) as port:
        for _ in range(100):
            port.sendto(datagram(chance, public_key), (address, Topology.WIREGUARD_PORT))
    time.sleep(0.01)  # about ten thousand a second, so that the node is busy and the machine still usable


def datagram(chance: random.Random, public_key: bytes) -> bytes:
    kind = chance.choice(list(SIZES))
    header = struct.pack("<I", kind)
    match chance.randrange(6):
        case 0:  # noise of any length
            return chance.randbytes(chance.choice([0, 1, 3, 4, 31, 64, 1400, 9000, 65000]))
        case 1:  # a type, and the wrong length
            return header + chance.randbytes(chance.randrange(200))
        case 2:  # reserved bytes that are not zero
            return bytes([kind]) + chance.randbytes(SIZES[kind] - 1)
        case 3:  # unknown type
            return struct.pack("<I", chance.randrange(5, 256)) + chance.randbytes(144)
        case 4:  # right form, wrong content
            return header + chance.randbytes(SIZES[kind] - 4 + (16 * chance.randrange(9) if kind == 4 else 0))
        case _:  # a handshake message that is addressed to this very node
            message = struct.pack("<I", 1) + chance.randbytes(SIZES[1] - 4 - 32)
            key = hashlib.blake2s(b"mac1----" + public_key).digest()
            return message + hashlib.blake2s(message, key=key, digest_size=16).digest() + bytes(16)


def throw_at_tls(source: Namespace, chance: random.Random) -> None:
    hello = (b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03" + chance.randbytes(32) + b"\x20" + chance.randbytes(32))
    garbage = chance.choice([
        b"", chance.randbytes(chance.randrange(1, 5000)), hello[: chance.randrange(len(hello))],
        hello + chance.randbytes(300), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(70000),
        b"\x80\x2e\x01\x00\x02", b"SSH-2.0-x\r\n", b"\x15\x03\x03\x00\x02\x02\x28" * 50])
    with source.connect(Topology.NODE, PORT, seconds=5) as plain:
        plain.sendall(garbage)
        if chance.random() < 0.5:
            plain.settimeout(0.05)
            plain.recv(1000)


def throw_at_http(connect: Callable, chance: random.Random) -> None:
    """Over good TLS; requests that are wrong in one way, and noise."""
    request = f"GET /echo HTTP/1.1\r\nHost: {PUBLIC}\r\n".encode()
    garbage = chance.choice([
        chance.randbytes(chance.randrange(1, 3000)), b"\r\n" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
        request + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        request + b"Content-Length: +5\r\n\r\nhello", request + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        request + b"Transfer-Encoding: xchunked\r\n\r\n", request + b"A" * 100_000 + b"\r\n\r\n",
        request + b"a: b\r\n" * 5000 + b"\r\n", request + b" folded: x\r\n\r\n", request + b"na me: x\r\n\r\n",
        request + b"name : x\r\n\r\n", request + b"x: \x00\r\n\r\n", request + b"Host: twice\r\n\r\n",
        b"POST /sink HTTP/1.1\r\nHost: " + PUBLIC.encode() + b"\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"POST /sink HTTP/1.1\r\nHost: " + PUBLIC.encode() + b"\r\nContent-Length: 99999999\r\n\r\nnot that much",
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        request + b"\r\n" + chance.randbytes(500)])
    with connect(PUBLIC, seconds=5) as tls:
        tls.sendall(garbage)
        if chance.random() < 0.7:
            tls.settimeout(0.2)
            tls.recv(1000)


def throw_at_control(path: str, chance: random.Random) -> None:
    garbage = chance.choice([
        b"", chance.randbytes(chance.randrange(1, 5000)), b"GET", b"GET /v1/status HTTP/1.1\r\n", b"\r\n" * 1000,
        b"GET /v1/" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", b"GET /v1/status HTTP/1.1\r\n" + b"a: b\r\n" * 10_000,
        b"POST /v1/reload HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /v1/reload HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n" + bytes(100_000),
        b"POST /v1/peers HTTP/1.1\r\nContent-Length: 9\r\n\r\n[[[[[[[[[", b"BREW /v1/status HTTP/1.1\r\n\r\n",
        b"GET ../../etc/passwd HTTP/1.1\r\n\r\n", b"{}" * 1000])
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(0.2)
        control.connect(path)
        control.sendall(garbage)
        if chance.random() < 0.5:
            control.recv(1000)
    time.sleep(0.002)


def throw_inner_packets(client: Namespace, chance: random.Random) -> None:
    """From inside the tunnel: a peer that is known and still sends nonsense to every port and protocol."""
    protocol = chance.choice([0, 1, 2, 6, 17, 41, 47, 58, 89, 255])
    with client.make_socket(socket.SOCK_DGRAM) as port:
        for size in (0, 1, 1392, 5000):
            port.sendto(chance.randbytes(size), (Topology.NODE_INNER, chance.randrange(1, 65536)))
    with client.entered():
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol or 253)
    with raw:
        for _ in range(20):
            raw.sendto(chance.randbytes(chance.randrange(1400)), (Topology.NODE_INNER, 0))
    time.sleep(0.01)
