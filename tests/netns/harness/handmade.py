"""A WireGuard end by hand, from the protocol's paper: an oracle that shares nothing with the node, and that
can do what no stock program does: lie about every field, and count.

It is never in time, has no timers and one session at a time; a test moves it from message to message.
"""

import hashlib
import hmac
import os
import socket
import struct
import time
from base64 import b64decode
from dataclasses import dataclass

from . import cleanup
from .network import Namespace, Topology, family_of
from .primitives import Forged, public_key, seal, unseal, x25519
from .wireguard import KeyPair

INITIATION, RESPONSE, COOKIE_REPLY, DATA = 1, 2, 3, 4
INITIATION_SIZE, RESPONSE_SIZE, COOKIE_REPLY_SIZE, KEEPALIVE_SIZE = 148, 92, 64, 32
_MACS = 32  # at the end of both handshake messages
_CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
_IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"


def blake2s(*parts: bytes, key: bytes = b"", size: int = 32) -> bytes:
    return hashlib.blake2s(b"".join(parts), key=key, digest_size=size).digest()


def mac1_of(message: bytes, receivers_public_key: bytes) -> bytes:
    """For a message without its two MACs."""
    return blake2s(message, key=blake2s(b"mac1----", receivers_public_key), size=16)


def timestamp_now() -> bytes:
    """TAI64N."""
    return timestamp(time.time_ns())


def timestamp(nanoseconds: int) -> bytes:
    return struct.pack(">QI", (1 << 62) + 10 + nanoseconds // 10**9, nanoseconds % 10**9)


class _Noise:
    """The chaining key and the hash of one handshake, and what is mixed into them."""

    def __init__(self, responders_public_key: bytes):
        self.chaining_key = blake2s(_CONSTRUCTION)
        self.hash = blake2s(blake2s(self.chaining_key, _IDENTIFIER), responders_public_key)

    def derive(self, material: bytes, count: int) -> list[bytes]:
        secret = _hmac(self.chaining_key, material)
        keys = [b""]
        for number in range(1, count + 1):
            keys.append(_hmac(secret, keys[-1] + bytes([number])))
        self.chaining_key = keys[1]
        return keys[2:]

    def mix_public(self, key: bytes) -> None:
        """An ephemeral key: into the hash and, for the sake of the preshared key, into the chain."""
        self.hash = blake2s(self.hash, key)
        self.derive(key, 1)

    def seal(self, key: bytes, plain: bytes) -> bytes:
        sealed = seal(key, bytes(12), plain, self.hash)
        self.hash = blake2s(self.hash, sealed)
        return sealed

    def unseal(self, key: bytes, sealed: bytes) -> bytes:
        plain = unseal(key, bytes(12), sealed, self.hash)
        self.hash = blake2s(self.hash, sealed)
        return plain

    def mix_preshared(self, key: bytes) -> bytes:
        tau, sealing_key = self.derive(key, 3)
        self.hash = blake2s(self.hash, tau)
        return sealing_key

    def split(self) -> tuple[bytes, bytes]:
        """The initiator's sending key, and the responder's."""
        secret = _hmac(self.chaining_key, b"")
        first = _hmac(secret, b"\1")
        return first, _hmac(secret, first + b"\2")


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.blake2s).digest()


@dataclass
class Session:
    send_key: bytes
    receive_key: bytes
    local_index: int
    remote_index: int
    counter: int = 0

    def seal(self, packet: bytes, *, counter: int | None = None, pad: bool = True) -> bytes:
        """A data message. Without a counter it has the next one."""
        if counter is None:
            counter, self.counter = self.counter, self.counter + 1
        if pad:
            packet += bytes(-len(packet) % 16)
        return (struct.pack("<IIQ", DATA, self.remote_index, counter)
                + seal(self.send_key, bytes(4) + struct.pack("<Q", counter), packet))

    def unseal(self, datagram: bytes) -> tuple[int, bytes]:
        """Its counter, and the packet with its padding."""
        kind, index, counter = struct.unpack_from("<IIQ", datagram)
        assert (kind, index) == (DATA, self.local_index), f"no data of this session: {datagram[:16].hex()}"
        return counter, unseal(self.receive_key, bytes(4) + struct.pack("<Q", counter), datagram[16:])


class HandmadePeer:
    """A socket and a key in a namespace, towards one node."""

    def __init__(self, namespace: Namespace, node_key: str, *, address: str = Topology.CLIENT,
                 node_address: str = Topology.NODE, keys: KeyPair | None = None,
                 preshared_key: str | None = None, port: int = 0):
        self.namespace = namespace
        self.keys = keys or KeyPair.make()
        self.private = b64decode(self.keys.private)
        self.public = public_key(self.private)
        self.node_key = b64decode(node_key)
        self.node = (node_address, Topology.WIREGUARD_PORT)
        self.preshared = b64decode(preshared_key) if preshared_key else bytes(32)
        self.cookie: bytes | None = None  # put into every handshake message once there is one
        self.socket = self.open(address, port)
        self.session: Session | None = None
        self._last_mac1 = b""
        self._pending: tuple[_Noise, bytes, int] | None = None
        self._answered = 0.0

    def open(self, address: str, port: int = 0) -> socket.socket:
        made = self.namespace.make_socket(socket.SOCK_DGRAM, family_of(address))
        cleanup.later(made.close)
        made.bind((address, port))
        return made

    @property
    def port(self) -> int:
        return self.socket.getsockname()[1]

    # ---- Datagrams.

    def send(self, datagram: bytes) -> None:
        self.socket.sendto(datagram, self.node)

    def receive(self, seconds: float = 20) -> bytes:
        """What the node sends next."""
        self.socket.settimeout(seconds)
        try:
            datagram, sender = self.socket.recvfrom(1 << 16)
        except TimeoutError:
            raise AssertionError(f"the node sends nothing within {seconds:g} s") from None
        assert sender[:2] == self.node, f"from {sender}"
        return datagram

    def drain(self) -> list[bytes]:
        """Everything that has come so far."""
        self.socket.setblocking(False)
        found = []
        try:
            while True:
                found.append(self.socket.recv(1 << 16))
        except BlockingIOError:
            return found

    # ---- Handshakes.

    def handshake(self) -> Session:
        """A complete one that this end begins; nothing else may come in the meantime."""
        self.send(self.initiation())
        return self.finish(self.receive())

    def initiation(self, *, when: bytes | None = None) -> bytes:
        # An end may begin 50 handshakes a second, counted at the other end; this one waits that time
        # from the other's answer on.
        rest = self._answered + 0.025 - time.monotonic()
        if rest > 0:
            time.sleep(rest)
        noise, ephemeral, index = _Noise(self.node_key), os.urandom(32), _random_index()
        point = public_key(ephemeral)
        noise.mix_public(point)
        (key,) = noise.derive(x25519(ephemeral, self.node_key), 2)
        static = noise.seal(key, self.public)
        (key,) = noise.derive(x25519(self.private, self.node_key), 2)
        sealed_time = noise.seal(key, when or timestamp_now())
        self._pending = noise, ephemeral, index
        return self.sign(struct.pack("<II", INITIATION, index) + point + static + sealed_time)

    def finish(self, response: bytes) -> Session:
        """The response to the last initiation makes a session."""
        kind, sender, receiver = struct.unpack_from("<III", response)
        assert self._pending is not None
        noise, ephemeral, index = self._pending
        assert (kind, receiver, len(response)) == (RESPONSE, index, RESPONSE_SIZE), (
            f"no response to the last initiation: {response[:12].hex()}, {len(response)} bytes")
        self.check_mac1(response)
        point = response[12:44]
        noise.mix_public(point)
        noise.derive(x25519(ephemeral, point), 1)
        noise.derive(x25519(self.private, point), 1)
        assert noise.unseal(noise.mix_preshared(self.preshared), response[44:60]) == b""
        ours, theirs = noise.split()
        self.session = Session(ours, theirs, index, sender)
        self._answered = time.monotonic()
        return self.session

    def answer(self, initiation: bytes) -> tuple[bytes, Session]:
        """The response to the node's initiation, and the session that it makes."""
        kind, remote_index = struct.unpack_from("<II", initiation)
        assert (kind, len(initiation)) == (INITIATION, INITIATION_SIZE), initiation[:12].hex()
        self.check_mac1(initiation)
        noise, point = _Noise(self.public), initiation[8:40]
        noise.mix_public(point)
        (key,) = noise.derive(x25519(self.private, point), 2)
        static = noise.unseal(key, initiation[40:88])
        assert static == self.node_key, "an initiation of somebody else"
        (key,) = noise.derive(x25519(self.private, static), 2)
        noise.unseal(key, initiation[88:116])

        ephemeral, index = os.urandom(32), _random_index()
        own_point = public_key(ephemeral)
        noise.mix_public(own_point)
        noise.derive(x25519(ephemeral, point), 1)
        noise.derive(x25519(ephemeral, static), 1)
        nothing = noise.seal(noise.mix_preshared(self.preshared), b"")
        theirs, ours = noise.split()
        self.session = Session(ours, theirs, index, remote_index)
        message = struct.pack("<III", RESPONSE, index, remote_index) + own_point + nothing
        return self.sign(message), self.session

    def sign(self, message: bytes) -> bytes:
        """With both MACs; the second is zero as long as there is no cookie."""
        self._last_mac1 = mac1_of(message, self.node_key)
        message += self._last_mac1
        return message + (blake2s(message, key=self.cookie, size=16) if self.cookie else bytes(16))

    def check_mac1(self, message: bytes) -> None:
        body, mac1 = message[:-_MACS], message[-_MACS:-16]
        if mac1_of(body, self.public) != mac1:
            raise Forged("the node's first MAC is not for this end's key")

    def take_cookie(self, reply: bytes) -> bytes:
        """The cookie in the reply to the last handshake message; handshake messages carry it from now on."""
        kind = struct.unpack_from("<I", reply)[0]
        assert (kind, len(reply)) == (COOKIE_REPLY, COOKIE_REPLY_SIZE), reply[:8].hex()
        self.cookie = unseal(blake2s(b"cookie--", self.node_key), reply[8:32], reply[32:], self._last_mac1)
        return self.cookie

    def cookie_reply(self, message: bytes, cookie: bytes) -> bytes:
        """As if this end were under load: it takes nothing but this cookie."""
        sender, mac1, nonce = message[4:8], message[-_MACS:-16], os.urandom(24)
        return (struct.pack("<I", COOKIE_REPLY) + sender + nonce
                + seal(blake2s(b"cookie--", self.public), nonce, cookie, mac1))


def _random_index() -> int:
    return int.from_bytes(os.urandom(4), "little")


# ---- What goes through a session.

def internet_checksum(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2]))
    if len(data) % 2:
        total += data[-1] << 8
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ipv4_packet(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(destination))
    return head[:10] + struct.pack(">H", internet_checksum(head)) + head[12:] + payload


def echo_request(number: int, *, size: int = 8, source: str = Topology.CLIENT_INNER,
                 destination: str = Topology.NODE_INNER) -> bytes:
    """A ping that the node's kernel answers."""
    body = struct.pack(">HH", 0x5157, number & 0xFFFF) + bytes(size)
    checksum = internet_checksum(b"\x08\x00\x00\x00" + body)
    return ipv4_packet(source, destination, 1, struct.pack(">BBH", 8, 0, checksum) + body)


def echo_reply_number(packet: bytes) -> int | None:
    """Which request a packet is the answer to, if it is one."""
    if len(packet) < 28 or packet[0] >> 4 != 4 or packet[9] != 1 or packet[20] != 0:
        return None
    return struct.unpack_from(">H", packet, 26)[0]
