"""Bodies that can be made without end and checked: every MiB is different, and a seed gives all."""

import functools
import hashlib
import random
from dataclasses import dataclass
from typing import Iterator

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Payload:
    seed: int
    size: int

    def chunks(self) -> Iterator[bytes]:
        block = _random_block(self.seed)
        for number, offset in enumerate(range(0, self.size, _CHUNK)):
            chunk = number.to_bytes(8, "big") + block
            yield chunk if self.size - offset >= _CHUNK else chunk[: self.size - offset]

    def sha256(self) -> str:
        return _sha256(self)


@functools.cache
def _random_block(seed: int) -> bytes:
    return random.Random(seed).randbytes(_CHUNK - 8)


@functools.cache
def _sha256(payload: Payload) -> str:
    digest = hashlib.sha256()
    for chunk in payload.chunks():
        digest.update(chunk)
    return digest.hexdigest()
