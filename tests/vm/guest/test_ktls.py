"""Long bodies that the kernel encrypts and splices: the same bytes as without it, and its counters to prove it."""

import hashlib
import os
import re
import socket
import threading
import time
import unittest
from pathlib import Path
from typing import Any, ClassVar, Iterator

from harness import cleanup
from harness.backend import Backend
from harness.network import Namespace
from harness.node import Node
from harness.payload import Payload
from harness.waiting import until

from ends import PATIENCE
from tls_client import Alert, TlsClient

PORT = 3443
LOOPBACK = "127.0.0.1"
# From which size on a connection goes over to the kernel (dataplane/tls/kernel_tls.h).
LONG = 1 << 20
MIB = 1 << 20
# The longest body. A gigabyte takes minutes in a guest without hardware help.
LONGEST = int(os.environ.get("SLUICE_VM_KTLS_BYTES", 24 * MIB))

# Version, cipher, and whether it goes to the kernel.
SUITES = (
    ("1.3", "TLS_AES_128_GCM_SHA256", True),
    ("1.3", "TLS_AES_256_GCM_SHA384", True),
    ("1.3", "TLS_CHACHA20_POLY1305_SHA256", False),
    ("1.2", "ECDHE-ECDSA-AES128-GCM-SHA256", True),
    ("1.2", "ECDHE-ECDSA-AES256-GCM-SHA384", True),
    ("1.2", "ECDHE-ECDSA-CHACHA20-POLY1305", False),
)


class Duplex:
    """A server that sends half of its body, takes all of the request's, and then sends the other half."""

    def __init__(self, namespace: Namespace, body: bytes):
        with namespace.entered():
            self._listener = socket.create_server((LOOPBACK, 0))
        cleanup.later(self._listener.close)
        self.url = f"http://{LOOPBACK}:{self._listener.getsockname()[1]}"
        self._body = body
        self.received = ""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rwb") as stream:
            size = 0
            while (line := stream.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    size = int(line.split(b":")[1])
            half = len(self._body) // 2
            stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(self._body) + self._body[:half])
            stream.flush()
            self.received = hashlib.sha256(stream.read(size)).hexdigest()
            stream.write(self._body[half:])
            stream.flush()


class KernelTls(unittest.TestCase):
    """With either engine; the subclasses say which."""
    engine: ClassVar[str]
    ktls: ClassVar[str] = "auto"

    @classmethod
    def setUpClass(cls) -> None:
        cls.addClassCleanup(cleanup.undo_to, cleanup.mark())
        os.chmod("/tests/server.key", 0o600)
        cls.namespace = Namespace("tls", cleanup.unique())
        cls.backend = Backend(cls.namespace, LOOPBACK)
        cls.duplex_body = b"".join(Payload(9, 4 * MIB).chunks())
        cls.duplex = Duplex(cls.namespace, cls.duplex_body)
        cls.node = Node(cls.namespace, Path("/tmp"), {
            "node": {"name": "node-21", "ip": "192.168.10.21", "state_dir": "/tmp", "workers": 1},
            "io": {"engine": cls.engine},
            "listeners": [{"name": "main", "address": f"{LOOPBACK}:{PORT}"}],
            "tls": {"ktls": cls.ktls},
            "certificates": [{"hosts": ["site.test"], "cert_file": "/tests/server.crt",
                              "key_file": "/tests/server.key"}],
            "routes": [{"name": "duplex", "hosts": ["site.test"], "path_prefix": "/duplex", "auth": "public",
                        "backend": "duplex"},
                       {"name": "all", "hosts": ["site.test"], "auth": "public", "backend": "all"}],
            "backends": [{"name": "all", "servers": [{"url": cls.backend.url}]},
                         {"name": "duplex", "servers": [{"url": cls.duplex.url}]}],
        })
        cls.node.start(PATIENCE)
        until(lambda: cls.node.status()["state"] == "serving", "every worker serves", PATIENCE)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.node.stop(seconds=PATIENCE)

    def connect(self, version: str = "1.3", cipher: str | None = "TLS_AES_128_GCM_SHA256", alpn: str = "",
                room: int | None = None) -> TlsClient:
        with self.namespace.entered():
            plain = socket.socket()
            if room is not None:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
            plain.settimeout(PATIENCE)
            plain.connect((LOOPBACK, PORT))
        client = TlsClient(plain, version, cipher, alpn)
        self.addCleanup(client.close)
        return client

    def ask(self, client: TlsClient, path: str, more: str = "") -> int:
        """The length that the response says it has."""
        client.write(f"GET {path} HTTP/1.1\r\nHost: site.test\r\n{more}\r\n".encode())
        head = client.head()
        self.assertTrue(head.startswith("HTTP/1.1 200 "), head)
        return int(re.search(r"(?i)content-length: (\d+)", head)[1])

    def take(self, client: TlsClient, size: int, digest: Any, pause: float = 0) -> None:
        while size > 0:
            piece = client.read(min(size, 1 << 16))
            self.assertTrue(piece, f"it ended {size} bytes early")
            digest.update(piece)
            size -= len(piece)
            if pause:
                time.sleep(pause)

    def fetch(self, client: TlsClient, payload: Payload, pause: float = 0) -> None:
        size = self.ask(client, f"/stream?size={payload.size}&seed={payload.seed}")
        self.assertEqual(size, payload.size)
        digest = hashlib.sha256()
        self.take(client, size, digest, pause)
        self.assertEqual(digest.hexdigest(), payload.sha256(), f"{payload.size} bytes")

    def fetch_small(self, client: TlsClient) -> None:
        """To see that a connection lives on."""
        self.fetch(client, Payload(3, 1000))

    def kernel_count(self, name: str = "TlsTxSw") -> int:
        with self.namespace.entered():
            text = Path("/proc/thread-self/net/tls_stat").read_text()
        return int(re.search(rf"^{name}\s+(\d+)", text, re.MULTILINE)[1])

    def offload(self) -> dict[str, Any]:
        found = [entry for entry in self.node.status()["offloads"] if entry["name"] == "ktls"]
        self.assertEqual(len(found), 1, self.node.status()["offloads"])
        return found[0]

    def drops(self, reason: str) -> int:
        return self.node.status()["drops"].get(reason, 0)

    def explain(self) -> str:
        return f"{self.offload()}\nSluice's last words:\n{self.node.tail()}"


class Offloaded(KernelTls):
    """What the tests of both engines are; this class itself is none."""

    def test_every_size_arrives_whole(self) -> None:
        for version, cipher, _ in SUITES[::3]:
            client = self.connect(version, cipher)
            for size in (0, 1, 16383, 16384, 16385, LONG - 1, LONG, LONG + 1, 3 * MIB + 7, 100):
                with self.subTest(version=version, size=size):
                    self.fetch(client, Payload(1, size))

    def test_every_cipher_and_who_encrypts(self) -> None:
        for version, cipher, in_kernel in SUITES:
            with self.subTest(version=version, cipher=cipher):
                counted, used = self.kernel_count(), self.offload()["uses"]
                client = self.connect(version, cipher)
                self.fetch_small(client)
                self.fetch(client, Payload(2, LONG - 1))
                self.assertEqual(self.kernel_count(), counted, "a short body went over")
                for _ in range(2):
                    self.fetch(client, Payload(2, 2 * MIB + 1))
                self.fetch_small(client)
                self.assertEqual(self.kernel_count() - counted, 1 if in_kernel else 0)
                self.assertEqual(self.offload()["uses"] - used, 1 if in_kernel else 0)
        self.assertEqual(self.offload()["state"], "on")
        self.assertEqual(self.kernel_count("TlsTxDevice"), 0)

    def test_a_long_body(self) -> None:
        client = self.connect()
        self.fetch(client, Payload(4, LONGEST))
        self.fetch_small(client)

    def test_slow_readers(self) -> None:
        for version, cipher, _ in SUITES[::3]:
            client = self.connect(version, cipher, room=16384)
            self.fetch(client, Payload(5, 2 * MIB + 1), pause=0.002)
            self.fetch_small(client)

    def test_the_end_of_a_connection_whose_reader_is_slow(self) -> None:
        client = self.connect(room=8192)
        payload = Payload(6, 2 * MIB + 5)
        size = self.ask(client, f"/stream?size={payload.size}&seed={payload.seed}", "Connection: close\r\n")
        digest = hashlib.sha256()
        self.take(client, size, digest, pause=0.002)
        self.assertEqual(digest.hexdigest(), payload.sha256())
        self.assertEqual(client.read(), b"")
        self.assertTrue(client.said_close_notify)

    def test_new_keys_of_the_client_alone(self) -> None:
        client = self.connect()
        payload = Payload(7, 4 * MIB)
        digest = hashlib.sha256()
        with self.paced(client, payload) as (let_go, size):
            let_go(2)
            self.take(client, 2 * MIB, digest)
            client.change_keys(both=False)
            let_go(2)
            self.take(client, size - 2 * MIB, digest)
        self.assertEqual(digest.hexdigest(), payload.sha256())
        self.fetch_small(client)

    def test_a_client_that_wants_new_keys_of_ours_gets_its_body(self) -> None:
        client = self.connect()
        payload = Payload(8, 4 * MIB)
        digest = hashlib.sha256()
        refused = self.drops("tls_key_update_refused")
        with self.paced(client, payload) as (let_go, size):
            let_go(2)
            self.take(client, 2 * MIB, digest)
            client.change_keys(both=True)
            # Linux before 6.14, which this kernel is: it cannot change its keys.
            until(lambda: self.drops("tls_key_update_refused") == refused + 1, "it is heard and counted", PATIENCE)
            let_go(2)
            self.take(client, size - 2 * MIB, digest)
        self.assertEqual(digest.hexdigest(), payload.sha256())
        self.assertEqual(client.read(), b"", "the connection should end after the response")
        self.assertTrue(client.said_close_notify)

    def paced(self, client: TlsClient, payload: Payload) -> "Paced":
        return Paced(self, client, payload)

    def test_an_upload_at_the_same_time(self) -> None:
        client = self.connect()
        upload = b"".join(Payload(10, 2 * MIB).chunks())
        size = self.ask(client, "/duplex", f"Content-Length: {len(upload)}\r\n")
        digest = hashlib.sha256()
        self.take(client, size // 2, digest)
        client.write(upload)
        self.take(client, size - size // 2, digest)
        self.assertEqual(digest.digest(), hashlib.sha256(self.duplex_body).digest())
        self.assertEqual(self.duplex.received, hashlib.sha256(upload).hexdigest())

    def test_alerts_come_through_the_kernel(self) -> None:
        client = self.connect()
        self.fetch(client, Payload(2, 2 * MIB))
        client.socket.sendall(b"\x17\x03\x03\x00\x20" + b"nobody has encrypted this record")
        with self.assertRaises(Alert) as caught:
            client.read()
        self.assertEqual(caught.exception.args, (20,))  # bad_record_mac

    def test_a_server_that_ends_early_and_a_client_that_goes(self) -> None:
        client = self.connect()
        size = self.ask(client, f"/cut?size={4 * MIB}&seed=1")
        with self.assertRaises(AssertionError):
            self.take(client, size, hashlib.sha256())
        self.assertFalse(client.said_close_notify)
        for _ in range(3):
            client = self.connect()
            self.ask(client, f"/stream?size={8 * MIB}&seed=1")
            client.read()
            client.close()
        until(lambda: self.kernel_count("TlsCurrTxSw") == 0, "the kernel has let go of all of them", PATIENCE)
        self.fetch(self.connect(), Payload(2, 2 * MIB))

    def test_http2_is_left_to_user_space(self) -> None:
        counted = self.kernel_count()
        client = self.connect(alpn="h2")
        payload = Payload(11, 2 * MIB)
        path = f"/stream?size={payload.size}&seed={payload.seed}".encode()
        # RFC 7541: indexed GET and https, then path and authority as they are.
        block = b"\x82\x87\x04" + bytes([len(path)]) + path + b"\x01\x09site.test"
        client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b"")
                     + _frame(8, 0, 0, (1 << 28).to_bytes(4, "big")) + _frame(1, 5, 1, block)
                     + _frame(8, 0, 1, (1 << 28).to_bytes(4, "big")))
        digest = hashlib.sha256()
        for kind, flags, stream, content in self.frames(client):
            self.assertNotIn(kind, (3, 7), "RST_STREAM or GOAWAY")
            if kind == 0:
                self.assertEqual(stream, 1)
                digest.update(content)
                if flags & 1:
                    break
        self.assertEqual(digest.hexdigest(), payload.sha256())
        self.assertEqual(self.kernel_count(), counted)

    def frames(self, client: TlsClient) -> Iterator[tuple[int, int, int, bytes]]:
        held = b""
        while True:
            while len(held) < 9 or len(held) < 9 + int.from_bytes(held[:3], "big"):
                piece = client.read()
                self.assertTrue(piece, "the connection ended")
                held += piece
            size = int.from_bytes(held[:3], "big")
            yield held[3], held[4], int.from_bytes(held[5:9], "big"), held[9:9 + size]
            held = held[9 + size:]


class Paced:
    """A body that comes as far as it is let go; `with` gives what lets it go, and its size."""

    def __init__(self, test: KernelTls, client: TlsClient, payload: Payload):
        self._test, self._client = test, client
        self._paced = test.backend.paced(payload)

    def __enter__(self) -> tuple[Any, int]:
        return self._paced.let_go, self._test.ask(self._client, self._paced.path)

    def __exit__(self, *error: object) -> None:
        self._paced.let_go(1000)  # nobody waits, whatever happened


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + content


class OffloadedByUring(Offloaded):
    engine = "io_uring"


class OffloadedByEpoll(Offloaded):
    engine = "epoll"


class SwitchedOff(KernelTls):
    engine = "epoll"
    ktls = "off"

    def test_nothing_goes_to_the_kernel(self) -> None:
        counted = self.kernel_count()  # the self-test at start
        for version, cipher, _ in SUITES[::3]:
            client = self.connect(version, cipher)
            self.fetch(client, Payload(2, 3 * MIB))
            self.fetch_small(client)
        self.assertEqual(self.kernel_count(), counted)
        self.assertEqual(self.offload()["state"], "off")
        self.assertEqual(self.offload()["uses"], 0)


del KernelTls, Offloaded  # unittest would run them too
