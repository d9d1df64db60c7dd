"""Who passes, and above all who does not."""

import ssl

from harness import cleanup, web
from harness.case import PORT, PUBLIC, TUNNEL, ServedTest, on_both_engines
from harness.network import Topology, add_address, steer

TUNNEL_ONLY_PORT = 3444
UNKNOWN_HOST = 404


@on_both_engines
class Access(ServedTest):
    @classmethod
    def configure(cls, document) -> None:
        document["listeners"] += [
            {"name": "inner4", "address": f"0.0.0.0:{TUNNEL_ONLY_PORT}", "scope": "tunnel"},
            {"name": "inner6", "address": f"[::]:{TUNNEL_ONLY_PORT}", "scope": "tunnel"},
        ]

    # Who has which identity.

    def test_a_tunnel_peer_passes_and_the_backend_learns_its_name(self) -> None:
        for address, inner in ((Topology.NODE_INNER, Topology.CLIENT_INNER),
                               (Topology.NODE_INNER6, Topology.CLIENT_INNER6)):
            with self.subTest(address=address):
                answer = self.site(self.topology.client, address).fetch(TUNNEL, "/echo")
                self.assertEqual(answer.status, 200, str(answer))
                seen = headers_of(answer)
                self.assertEqual(seen["x-sluice-peer"], ["phone"])
                self.assertEqual(seen["x-forwarded-for"], [inner])
                self.assertEqual(seen["x-forwarded-proto"], ["https"])

    def test_a_neighbour_is_refused_and_the_public_route_is_not(self) -> None:
        for address in (Topology.NODE, Topology.NODE6):
            with self.subTest(address=address):
                site = self.site(self.topology.neighbour, address)
                before = self.backend.requests["/echo/guarded"]
                self.assertEqual(site.fetch(TUNNEL, "/echo/guarded").status, 403)
                self.assertEqual(self.backend.requests["/echo/guarded"], before)
                self.assertEqual(site.fetch(PUBLIC, "/echo").status, 200)

    def test_a_peers_device_outside_its_tunnel_is_a_neighbour(self) -> None:
        answer = self.site(self.topology.client, Topology.NODE).fetch(TUNNEL, "/echo")
        self.assertEqual(answer.status, 403, str(answer))

    def test_every_method_and_body_is_refused_alike(self) -> None:
        for options in (["--head"], ["--request", "DELETE"], ["--data", "x=1"],
                        ["--data", "x" * 100_000, "--header", "Transfer-Encoding: chunked"]):
            with self.subTest(options=options[0]):
                self.assertEqual(self.neighbour.fetch(TUNNEL, "/echo", options=options).status, 403)

    # What a neighbour might try.

    def test_a_forged_inner_address_opens_nothing(self) -> None:
        """The neighbour has the peer's inner address, and the node's own routes send the answers to it."""
        cases = ((Topology.CLIENT_INNER, Topology.NODE, Topology.NODE_INNER, Topology.NEIGHBOUR, "32"),
                 (Topology.CLIENT_INNER6, Topology.NODE6, Topology.NODE_INNER6, Topology.NEIGHBOUR6, "128"))
        for forged, outer, inner, neighbour, bits in cases:
            self.borrow_address(forged, bits)
            cleanup.later(steer(self.topology.node, f"{forged}/{bits}", neighbour, "lan0"))
            cleanup.later(steer(self.topology.neighbour, f"{inner}/{bits}", outer, "lan0"))
            for target in (outer, inner):
                with self.subTest(source=forged, to=target):
                    site = self.site(self.topology.neighbour, target)
                    options = ["--interface", forged]
                    # That the public route answers shows that nothing but the decision stops it.
                    self.assertEqual(site.fetch(PUBLIC, "/echo", options=options).status, 200)
                    answer = site.fetch(TUNNEL, "/echo", options=options)
                    self.assertEqual(answer.status, 403, str(answer))
        cleanup.undo_to(self.undone_from)
        self.assert_serves()

    def test_a_forged_inner_address_without_a_way_back_gets_no_answer(self) -> None:
        self.borrow_address(Topology.CLIENT_INNER, "32")
        answer = self.neighbour.fetch(TUNNEL, "/echo", seconds=2, options=["--interface", Topology.CLIENT_INNER])
        self.assertEqual(answer.status, 0, str(answer))

    def test_headers_that_claim_an_identity_are_worthless_and_removed(self) -> None:
        claims = {"X-Sluice-Peer": "phone", "X_Sluice_Peer": "phone", "X-Forwarded-For": Topology.CLIENT_INNER,
                  "X-Real-Ip": Topology.CLIENT_INNER, "Forwarded": f"for={Topology.CLIENT_INNER}",
                  "Tailscale-User-Login": "root@example.org", "Tailscale_User_Login": "root@example.org",
                  "X-Forwarded-Tls-Client-Cert": "x", "X-Forwarded-Tls-Client-Cert-Info": "x"}
        options = [word for name, value in claims.items() for word in ("--header", f"{name}: {value}")]
        self.assertEqual(self.neighbour.fetch(TUNNEL, "/echo", options=options).status, 403)
        seen = headers_of(self.neighbour.fetch(PUBLIC, "/echo", options=options))
        for name in ("X-Forwarded-For", "X-Real-Ip"):
            self.assertEqual(seen[name.lower()], [Topology.NEIGHBOUR])
        for name in claims:
            if name not in ("X-Forwarded-For", "X-Real-Ip"):
                self.assertNotIn(name.lower(), seen)
        self.assertNotIn(Topology.CLIENT_INNER, str(seen))

    def test_a_peer_cannot_send_as_another_address(self) -> None:
        """Cryptokey routing: an inner source outside the peer's allowed IPs is dropped and counted."""
        other = "10.98.0.99"
        add_address(self.topology.client, self.client.interface, f"{other}/32")
        cleanup.later(lambda: self.topology.client.ip(
            "address", "delete", f"{other}/32", "dev", self.client.interface))
        before = self.node.status()["drops"].get("inner_source_not_allowed", 0)
        answer = self.inside.fetch(PUBLIC, "/echo", seconds=2, options=["--interface", other])
        self.assertEqual(answer.status, 0, str(answer))
        self.assertGreater(self.node.status()["drops"]["inner_source_not_allowed"], before)

    # Listeners and names.

    def test_a_tunnel_only_listener_is_not_there_for_anybody_else(self) -> None:
        for address in (Topology.NODE_INNER, Topology.NODE_INNER6):
            with self.subTest(address=address):
                site = web.Site(self.topology.client, address, TUNNEL_ONLY_PORT, self.authority)
                self.assertEqual(site.fetch(TUNNEL, "/echo").status, 200)
        for address in (Topology.NODE, Topology.NODE6):
            with self.subTest(address=address), self.assertRaises(ConnectionRefusedError):
                self.topology.neighbour.connect(address, TUNNEL_ONLY_PORT)
        cleanup.later(steer(self.topology.neighbour, f"{Topology.NODE_INNER}/32", Topology.NODE, "lan0"))
        with self.assertRaises(ConnectionRefusedError):
            self.topology.neighbour.connect(Topology.NODE_INNER, TUNNEL_ONLY_PORT)

    def test_an_unknown_server_name_gets_the_alert_for_it(self) -> None:
        before = self.node.status()["drops"].get("tls_unknown_server_name", 0)
        for name in ("unknown.sluice.test", "sluice.test", "a.b.wild.sluice.test"):
            with self.subTest(name=name), self.assertRaisesRegex(ssl.SSLError, "UNRECOGNIZED_NAME"):
                self.neighbour.tls(name).close()
        self.assertEqual(self.node.status()["drops"]["tls_unknown_server_name"], before + 3)

    def test_a_wildcard_certificate_answers_for_one_label(self) -> None:
        with self.neighbour.tls("one.wild.sluice.test") as tls:
            self.assertIn(("DNS", "*.wild.sluice.test"), tls.getpeercert()["subjectAltName"])

    def test_a_client_without_a_server_name_gets_the_first_certificate(self) -> None:
        with self.neighbour.tls(None) as tls:
            tls.sendall(f"GET /echo HTTP/1.1\r\nHost: {PUBLIC}\r\nConnection: close\r\n\r\n".encode())
            self.assertTrue(read_all(tls).startswith(b"HTTP/1.1 200 "))

    def test_an_unknown_host_has_no_route(self) -> None:
        answer = self.neighbour.fetch("one.wild.sluice.test", "/echo")
        self.assertEqual(answer.status, UNKNOWN_HOST, str(answer))

    def test_the_host_header_decides_and_not_the_server_name(self) -> None:
        """A public name in the TLS handshake does not open the guarded route."""
        answer = self.neighbour.fetch(TUNNEL, "/echo", sni=PUBLIC)
        self.assertIn(answer.status, (403, 421), str(answer))

    def test_tls_versions(self) -> None:
        for version, accepted in (("1.1", False), ("1.2", True), ("1.3", True)):
            with self.subTest(version=version):
                answer = self.neighbour.fetch(PUBLIC, "/echo", options=[
                    f"--tlsv{version}", "--tls-max", version, "--ciphers", "DEFAULT@SECLEVEL=0"])
                self.assertEqual(answer.status, 200 if accepted else 0, str(answer))

    def setUp(self) -> None:
        super().setUp()
        self.undone_from = cleanup.mark()

    def borrow_address(self, address: str, bits: str) -> None:
        neighbour = self.topology.neighbour
        add_address(neighbour, "lan0", f"{address}/{bits}")
        cleanup.later(lambda: neighbour.ip("address", "delete", f"{address}/{bits}", "dev", "lan0"))


def headers_of(echo: web.Answer) -> dict[str, list[str]]:
    """The request's headers as the backend saw them, names in lower case."""
    seen: dict[str, list[str]] = {}
    for name, value in echo.json()["headers"]:
        seen.setdefault(name.lower(), []).append(value)
    return seen


def read_all(stream: ssl.SSLSocket) -> bytes:
    received = b""
    while piece := stream.recv(65536):
        received += piece
    return received


@on_both_engines
class LocalPrograms(ServedTest):
    """A peer may send from everywhere, so that no source address by itself says "not a peer"."""

    @classmethod
    def configure(cls, document) -> None:
        document["wireguard"]["peers"][0]["allowed_ips"] = ["0.0.0.0/0", "::/0"]

    def test_a_program_on_the_node_is_no_peer_whatever_address_of_the_node_it_uses(self) -> None:
        # The tunnel's routes are not made for 0.0.0.0/0; answers to the client need them.
        for prefix in (f"{Topology.CLIENT_INNER}/32", f"{Topology.CLIENT_INNER6}/128"):
            family = "-6" if ":" in prefix else "-4"
            self.topology.node.ip(family, "route", "replace", prefix, "dev", self.node.interface)
        self.assert_serves()
        for target, source in ((Topology.NODE_INNER, Topology.NODE_INNER), (Topology.NODE, Topology.NODE_INNER),
                               (Topology.NODE_INNER6, Topology.NODE_INNER6)):
            with self.subTest(source=source, to=target):
                site = self.site(self.topology.node, target)
                options = ["--interface", source]
                self.assertEqual(site.fetch(PUBLIC, "/echo", options=options).status, 200)
                self.assertEqual(site.fetch(TUNNEL, "/echo", options=options).status, 403)
        # From its other addresses the kernel sends the answers into the tunnel, so nothing comes of it.
        for target, source in ((Topology.NODE_INNER, Topology.NODE), (Topology.NODE_INNER6, Topology.NODE6)):
            with self.subTest(source=source, to=target):
                site = self.site(self.topology.node, target)
                answer = site.fetch(TUNNEL, "/echo", seconds=1, options=["--interface", source])
                self.assertIn(answer.status, (0, 403))
        self.assert_serves()
