"""HTTP/2 as its users speak it: curl, nghttp, h2load, over TLS and, where a listener has none, without."""

import re
import socket

from harness.case import PUBLIC, ServedTest, on_both_engines
from harness.network import Topology, authority
from harness.payload import Payload

PLAIN_PORT = 3480


@on_both_engines
class Http2(ServedTest):
    @classmethod
    def configure(cls, document) -> None:
        document["listeners"].append({"name": "plain", "protocol": "http",
                                      "address": authority(Topology.NODE, PLAIN_PORT)})

    def run_there(self, *command: str, seconds: float = 120) -> str:
        return self.topology.neighbour.run(*command, seconds=seconds)

    def test_alpn_decides(self) -> None:
        for offered, chosen in ((["h2", "http/1.1"], "h2"), (["http/1.1", "h2"], "h2"),
                                (["http/1.1"], "http/1.1"), (["h2"], "h2"), (None, None)):
            with self.neighbour.tls(PUBLIC, alpn=offered) as connection:
                self.assertEqual(connection.selected_alpn_protocol(), chosen, f"{offered} were offered")

    def test_a_request_reaches_a_server_of_http_1(self) -> None:
        answer = self.neighbour.fetch(PUBLIC, "/echo?a=b", options=[
            "--http2", "--write-out", "%{stderr}%{http_version}\n", "--cookie", "a=1; b=2", "--header", "X-One: 1"])
        self.assertEqual(answer.status, 200, str(answer))
        seen = answer.json()
        headers = {name.lower(): value for name, value in seen["headers"]}
        self.assertEqual((seen["method"], seen["path"]), ("GET", "/echo?a=b"))
        self.assertEqual(headers["cookie"], "a=1; b=2")
        self.assertEqual(headers["x-one"], "1")
        self.assertEqual(headers["x-forwarded-proto"], "https")
        self.assertTrue(headers["host"].startswith(PUBLIC), headers)

    def test_large_bodies_arrive_as_they_were_sent(self) -> None:
        payload = Payload(seed=21, size=40_000_001)
        for path in ("stream", "chunked"):
            download = self.neighbour.download(PUBLIC, f"/{path}?size={payload.size}&seed={payload.seed}")
            self.assertEqual(download.finish(), payload.sha256(), path)
        for size in (payload.size, None):
            seen = self.neighbour.upload(PUBLIC, "/sink", payload.chunks(), size=size)
            self.assertEqual((seen["size"], seen["sha256"], seen["chunked"]),
                             (payload.size, payload.sha256(), size is None))

    def test_many_requests_at_once(self) -> None:
        report = self.run_there("h2load", "-c", "4", "-m", "20", "-n", "2000", "--connect-to",
                                authority(Topology.NODE, 3443), f"https://{PUBLIC}:3443/stream?size=5000")
        self.assertRegex(report, r"2000 succeeded, 0 failed, 0 errored, 0 timeout")
        self.assertRegex(report, r"status codes: 2000 2xx")
        self.assertIn("Application protocol: h2", report)

    def test_many_large_answers_on_one_connection(self) -> None:
        report = self.run_there("h2load", "-c", "1", "-m", "8", "-n", "24", "--connect-to",
                                authority(Topology.NODE, 3443), f"https://{PUBLIC}:3443/chunked?size=1000000")
        self.assertRegex(report, r"24 succeeded, 0 failed, 0 errored, 0 timeout")
        self.assertRegex(report, r"\(24000000\) data")

    def test_without_tls_the_clients_first_bytes_decide(self) -> None:
        url = f"http://{authority(Topology.NODE, PLAIN_PORT)}/echo"
        for option, version in (("--http2-prior-knowledge", "2"), ("--http2", "1.1"), ("--http1.1", "1.1")):
            seen = self.run_there("curl", "--silent", "--show-error", "--noproxy", "*", option, "--max-time", "20",
                                  "--header", f"Host: {PUBLIC}", "--write-out", "\n%{http_version} %{http_code}", url)
            self.assertEqual(seen.splitlines()[-1], f"{version} 200", seen)

    def test_a_body_that_breaks_off_is_not_taken_for_the_whole(self) -> None:
        answer = self.neighbour.fetch(PUBLIC, "/cut?size=100000", options=["--http2"])
        self.assertNotEqual(answer.error, "", str(answer))
        self.assert_serves()

    def test_refusals_are_answers(self) -> None:
        answer = self.neighbour.fetch("nobody.wild.sluice.test", options=["--http2"])
        self.assertEqual(answer.status, 404, str(answer))
        answer = self.neighbour.fetch(PUBLIC, "/%00", options=["--http2"])
        self.assertEqual(answer.status, 400, str(answer))

    def test_a_flood_of_pings_is_ended_and_counted(self) -> None:
        before = self.node.status()["drops"].get("http2_misbehaviour", 0)
        with self.neighbour.tls(PUBLIC, alpn=["h2"], seconds=30) as connection:
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, b""))
            received = b""
            try:
                for _ in range(300):
                    connection.sendall(_frame(6, b"12345678") * 10)
                while piece := connection.recv(65536):
                    received += piece
            except (ConnectionError, socket.timeout):
                pass  # its end may come as a reset, because it left bytes of ours unread
        after = self.node.status()["drops"].get("http2_misbehaviour", 0)
        self.assertEqual(after, before + 1)
        self.assert_serves()

    def test_nghttp_gets_all_of_a_page(self) -> None:
        seen = self.run_there("nghttp", "--no-dep", "--null-out", "--stat", "--header", f":authority: {PUBLIC}",
                              *[f"https://{authority(Topology.NODE, 3443)}/stream?size={10 ** n}" for n in range(1, 6)])
        codes = re.findall(r"\s(\d{3})\s+\S+\s+/stream", seen)
        self.assertEqual(codes, ["200"] * 5, seen)


def _frame(kind: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, 0]) + bytes(4) + payload
