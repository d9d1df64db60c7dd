"""X25519, ChaCha20-Poly1305 and XChaCha20-Poly1305 in plain Python, from RFC 7748, RFC 8439 and
draft-irtf-cfrg-xchacha: slow, short, and independent of every library that the node uses.

None of this is for keys that matter: it takes as long as its input makes it take.
"""

import struct
from typing import Sequence

_PRIME = 2**255 - 19


class Forged(ValueError):
    """Something that was sealed with another key, for other data, or not at all."""


def x25519(scalar: bytes, point: bytes) -> bytes:
    """RFC 7748, section 5. All zeros is the answer of a point of low order; the caller has to look."""
    k = int.from_bytes(scalar, "little")
    k = k & ~7 & ~(1 << 255) | 1 << 254
    u = int.from_bytes(point, "little") & (1 << 255) - 1
    x2, z2, x3, z3, swapped = 1, 0, u, 1, 0
    for position in reversed(range(255)):
        bit = k >> position & 1
        if swapped != bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swapped = bit
        a, b = (x2 + z2) % _PRIME, (x2 - z2) % _PRIME
        aa, bb = a * a % _PRIME, b * b % _PRIME
        da, cb = (x3 - z3) * a % _PRIME, (x3 + z3) * b % _PRIME
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % _PRIME, u * (da - cb) ** 2 % _PRIME
        x2, z2 = aa * bb % _PRIME, e * (aa + 121665 * e) % _PRIME
    if swapped:
        x2, z2 = x3, z3
    return (x2 * pow(z2, _PRIME - 2, _PRIME) % _PRIME).to_bytes(32, "little")


def public_key(private: bytes) -> bytes:
    return x25519(private, (9).to_bytes(32, "little"))


def seal(key: bytes, nonce: bytes, plain: bytes, associated: bytes = b"") -> bytes:
    """ChaCha20-Poly1305 with a nonce of 12 bytes, or XChaCha20-Poly1305 with one of 24."""
    key, nonce = _shorter(key, nonce)
    sealed = _chacha20(key, nonce, plain)
    return sealed + _tag(key, nonce, sealed, associated)


def unseal(key: bytes, nonce: bytes, sealed: bytes, associated: bytes = b"") -> bytes:
    key, nonce = _shorter(key, nonce)
    sealed, tag = sealed[:-16], sealed[-16:]
    if _tag(key, nonce, sealed, associated) != tag:
        raise Forged("the tag is not that of these bytes under this key")
    return _chacha20(key, nonce, sealed)


_CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")
# The columns of the state, then its diagonals.
_QUARTERS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
             (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))


def _rounds(state: Sequence[int]) -> list[int]:
    x = list(state)
    for _ in range(10):
        for i, j, k, l in _QUARTERS:
            a, b, c, d = x[i], x[j], x[k], x[l]
            a = a + b & 0xFFFFFFFF
            d ^= a
            d = d << 16 & 0xFFFFFFFF | d >> 16
            c = c + d & 0xFFFFFFFF
            b ^= c
            b = b << 12 & 0xFFFFFFFF | b >> 20
            a = a + b & 0xFFFFFFFF
            d ^= a
            d = d << 8 & 0xFFFFFFFF | d >> 24
            c = c + d & 0xFFFFFFFF
            b ^= c
            x[i], x[j], x[k], x[l] = a, b << 7 & 0xFFFFFFFF | b >> 25, c, d
    return x


def _block(key: bytes, nonce: bytes, counter: int) -> bytes:
    state = [*_CONSTANTS, *struct.unpack("<8I", key), counter, *struct.unpack("<3I", nonce)]
    return struct.pack("<16I", *(a + b & 0xFFFFFFFF for a, b in zip(state, _rounds(state))))


def _chacha20(key: bytes, nonce: bytes, data: bytes) -> bytes:
    blocks = (len(data) + 63) // 64
    stream = b"".join(_block(key, nonce, number) for number in range(1, blocks + 1))[: len(data)]
    mixed = int.from_bytes(data, "little") ^ int.from_bytes(stream, "little")
    return mixed.to_bytes(len(data), "little")


def _tag(key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
    one_time = _block(key, nonce, 0)
    r = int.from_bytes(one_time[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    s = int.from_bytes(one_time[16:32], "little")
    text = (associated + bytes(-len(associated) % 16) + sealed + bytes(-len(sealed) % 16)
            + struct.pack("<QQ", len(associated), len(sealed)))
    total = 0
    for at in range(0, len(text), 16):
        total = (total + int.from_bytes(text[at: at + 16] + b"\1", "little")) * r % (2**130 - 5)
    return (total + s & 2**128 - 1).to_bytes(16, "little")


def _shorter(key: bytes, nonce: bytes) -> tuple[bytes, bytes]:
    """A long nonce is half part of a key of its own (HChaCha20)."""
    if len(nonce) == 12:
        return key, nonce
    words = _rounds([*_CONSTANTS, *struct.unpack("<8I", key), *struct.unpack("<4I", nonce[:16])])
    return struct.pack("<8I", *words[:4], *words[12:]), bytes(4) + nonce[16:]
