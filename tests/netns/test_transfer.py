"""Bodies, large and many, arrive as they were sent."""

import concurrent.futures
import json
import os

from harness.backend import Backend
from harness.case import PUBLIC, TUNNEL, ServedTest, on_both_engines
from harness.network import Topology
from harness.payload import Payload

# 1 GB; a smaller number makes trying things out quicker.
LARGE = int(os.environ.get("SLUICE_TEST_LARGE_BYTES", 1_000_000_000))


@on_both_engines
class Transfer(ServedTest):
    def test_large_download_through_the_tunnel(self) -> None:
        payload = Payload(seed=1, size=LARGE)
        download = self.inside.download(TUNNEL, f"/stream?size={LARGE}&seed=1")
        self.assertEqual(download.finish(), payload.sha256())
        self.assertEqual(download.size, LARGE)

    def test_large_upload_through_the_tunnel(self) -> None:
        payload = Payload(seed=2, size=LARGE)
        seen = self.inside.upload(TUNNEL, "/sink", payload.chunks(), size=LARGE)
        self.assertEqual(seen, {"size": LARGE, "sha256": payload.sha256(), "chunked": False})

    def test_the_node_holds_no_body_in_memory(self) -> None:
        size = min(LARGE, 300_000_000)
        self.inside.download(TUNNEL, f"/stream?size={size}").finish()
        before = self.node.process.resident_bytes()
        self.inside.download(TUNNEL, f"/stream?size={size}").finish()
        # Half a second's worth of a slow reader would already be more.
        self.assertLess(self.node.process.resident_bytes() - before, 16 << 20)

    def test_a_reader_that_stops_stops_the_sender(self) -> None:
        """Back-pressure reaches the backend: what is sent but not read stays in kernel buffers."""
        size = 200_000_000
        download = self.inside.download(TUNNEL, f"/stream?size={size}&seed=3")
        download.read(1 << 20)
        before = self.node.process.resident_bytes()
        self.inside.fetch(TUNNEL, "/echo")  # time passes, in which the node could read on
        self.neighbour.download(PUBLIC, f"/stream?size={50_000_000}").finish()
        self.assertLess(self.node.process.resident_bytes() - before, 16 << 20)
        self.assertEqual(download.finish(), Payload(seed=3, size=size).sha256())

    def test_chunked_bodies_in_both_directions(self) -> None:
        payload = Payload(seed=4, size=5_000_000)
        download = self.inside.download(TUNNEL, "/chunked?size=5000000&seed=4")
        self.assertEqual(download.finish(), payload.sha256())
        seen = self.inside.upload(TUNNEL, "/sink", payload.chunks(), size=None)
        self.assertEqual((seen["size"], seen["sha256"]), (5_000_000, payload.sha256()))

    def test_sizes_around_buffers_and_records(self) -> None:
        for size in (0, 1, 1399, 1400, 1401, 16383, 16384, 16385, 65535, 65536, 65537, 1 << 20):
            with self.subTest(size=size):
                payload = Payload(seed=size, size=size)
                answer = self.inside.fetch(TUNNEL, f"/stream?size={size}&seed={size}")
                self.assertEqual(answer.status, 200, str(answer))
                self.assertEqual(answer.body, b"".join(payload.chunks()))
                seen = self.inside.upload(TUNNEL, "/sink", payload.chunks(), size=size)
                self.assertEqual((seen["size"], seen["sha256"]), (size, payload.sha256()))

    def test_200_parallel_requests_over_20_connections(self) -> None:
        """Ten requests are under way on each connection at once; every answer is the one that was asked for."""
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            for connection, answers in enumerate(pool.map(self._ten_at_once, range(20))):
                self.assertEqual(answers, [(200, f"{connection}/{i}") for i in range(10)])

    def _ten_at_once(self, connection: int) -> list[tuple[int, str]]:
        requests = b"".join(
            f"GET /echo/{connection}/{i}?{'x' * (i * 97)} HTTP/1.1\r\nHost: {TUNNEL}\r\n\r\n".encode()
            for i in range(10))
        with self.inside.tls(TUNNEL, seconds=30) as tls, tls.makefile("rb") as answers:
            tls.sendall(requests)
            return [read_echo(answers) for _ in range(10)]

    def test_keep_alive_connections_carry_many_requests(self) -> None:
        connection = self.inside.keep_alive(TUNNEL)
        for i in range(50):
            body = f"body {i} " * i
            connection.request("POST", f"/echo/{i}", body=body)
            answer = connection.getresponse()
            seen = json.loads(answer.read())
            self.assertEqual((answer.status, seen["path"], seen["body"]), (200, f"/echo/{i}", body))
        connection.close()

    def test_connections_to_a_backend_are_used_again(self) -> None:
        before = self.backend.connections
        connection = self.inside.keep_alive(TUNNEL)
        for _ in range(50):
            connection.request("GET", "/echo")
            connection.getresponse().read()
        connection.close()
        self.assertLess(self.backend.connections - before, 5)


def read_echo(answers) -> tuple[int, str]:
    """One answer of /echo/A/B from a stream of answers: its status and A/B as the backend saw it."""
    status = int(answers.readline().split()[1])
    length = 0
    while (line := answers.readline().strip()):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    path = json.loads(answers.read(length))["path"]
    return status, path.partition("?")[0].removeprefix("/echo/")


@on_both_engines
class TransferOverIpv6(ServedTest):
    """IPv6 inside the tunnel, outside of it, and towards the backend."""

    @classmethod
    def configure(cls, document) -> None:
        backend6 = Backend(cls.topology.backend, Topology.BACKEND6)
        document["backends"][0]["servers"] = [{"url": backend6.url}]

    @classmethod
    def node_as_peer(cls, **options):
        return super().node_as_peer(endpoint=f"[{Topology.NODE6}]:{Topology.WIREGUARD_PORT}")

    def test_every_family_inside_over_ipv6_outside(self) -> None:
        self.assertTrue(self.client.endpoint().startswith("["), self.client.endpoint())
        for address in (Topology.NODE_INNER, Topology.NODE_INNER6):
            with self.subTest(address=address):
                site = self.site(self.topology.client, address)
                download = site.download(TUNNEL, "/stream?size=20000000&seed=6")
                self.assertEqual(download.finish(), Payload(seed=6, size=20_000_000).sha256())

    def test_ipv6_inside_over_ipv4_outside(self) -> None:
        self.client.set_peer(super().node_as_peer())
        try:
            site = self.site(self.topology.client, Topology.NODE_INNER6)
            download = site.download(TUNNEL, "/stream?size=20000000&seed=7")
            self.assertEqual(download.finish(), Payload(seed=7, size=20_000_000).sha256())
        finally:
            self.client.set_peer(self.node_as_peer())

    def test_public_route_over_ipv6(self) -> None:
        answer = self.site(self.topology.neighbour, Topology.NODE6).fetch(PUBLIC, "/echo")
        self.assertEqual(answer.status, 200, str(answer))
