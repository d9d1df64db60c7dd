"""Client certificates: who passes on mtls-strict routes, what the backend learns, and what a session may carry over."""

import datetime
import json
import shutil
import subprocess
from pathlib import Path

from harness import processes
from harness.case import PORT, ServedTest
from harness.network import Topology
from harness.pki import Authority
from harness.waiting import until
from harness.web import Answer

PRIVATE, LISTED, REVOKING, STALE, MISSING, BOTH = (
    f"{name}.wild.sluice.test" for name in ("private", "listed", "revoking", "stale", "missing", "both"))
SPIFFE = "spiffe://sluice.test/happy"


class ClientAuthority(Authority):
    """A CA for clients that also revokes, and gives certificates any dates."""

    def __init__(self, directory: Path, name: str):
        directory.mkdir()
        super().__init__(directory, name)
        (directory / "index.txt").touch()
        (directory / "serial").write_text("1000\n")
        (directory / "ca.cnf").write_text(
            "[ca]\ndefault_ca=d\n[d]\n"
            f"database={directory}/index.txt\nserial={directory}/serial\nnew_certs_dir={directory}\n"
            f"certificate={self.certificate}\nprivate_key={directory}/ca.key\n"
            "default_md=sha256\ndefault_days=30\nunique_subject=no\npolicy=p\n[p]\ncommonName=supplied\n")

    def client(self, name: str, names: str = "", usage: str = "clientAuth",
               days: tuple[int, int] = (-1, 30)) -> list[str]:
        """curl's options for a new certificate, valid from and until so many days from now."""
        certificate, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        request, extensions = self.directory / f"{name}.csr", self.directory / f"{name}.ext"
        processes.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                       "-keyout", str(key), "-subj", f"/CN={name}", "-out", str(request)])
        extensions.write_text(f"basicConstraints=critical,CA:FALSE\nextendedKeyUsage={usage}\n"
                              + (f"subjectAltName={names}\n" if names else ""))
        self._ca("-in", request, "-out", certificate, "-extfile", extensions, "-notext",
                 "-startdate", _date(days[0]), "-enddate", _date(days[1]))
        return ["--cert", str(certificate), "--key", str(key)]

    def revoke(self, name: str) -> None:
        self._ca("-revoke", self.directory / f"{name}.crt")

    def list_revoked(self, path: Path, days: tuple[int, int] = (-1, 30)) -> Path:
        self._ca("-gencrl", "-crl_lastupdate", _date(days[0]), "-crl_nextupdate", _date(days[1]), "-out", path)
        return path

    def _ca(self, *arguments: object) -> None:
        processes.run(["openssl", "ca", "-batch", "-config", str(self.directory / "ca.cnf"), *map(str, arguments)])


def _date(days: int) -> str:
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    return at.strftime("%Y%m%d%H%M%SZ")


class MutualTls(ServedTest):
    @classmethod
    def configure(cls, document) -> None:
        cls.old = ClientAuthority(cls.directory / "old", "Sluice clients, old")
        cls.new = ClientAuthority(cls.directory / "new", "Sluice clients, new")
        cls.good = cls.old.client("happy", f"URI:{SPIFFE},DNS:happy.sluice.test,email:me@sluice.test")
        cls.other = cls.new.client("other", "URI:spiffe://sluice.test/other")
        cls.revoked = cls.old.client("revoked")
        cls.old.revoke("revoked")
        current = cls.old.list_revoked(cls.directory / "current.crl")
        stale = cls.old.list_revoked(cls.directory / "stale.crl", (-3, -1))
        both = cls.directory / "both.pem"
        both.write_text(cls.old.certificate.read_text() + cls.new.certificate.read_text())
        old = str(cls.old.certificate)
        cls.log_file = cls.directory / "access.log"
        document["log"] = {"access": str(cls.log_file)}

        def route(name: str, host: str, **keys: object) -> dict:
            return {"name": name, "hosts": [host], "auth": "mtls-strict", "backend": "scripted", **keys}

        document["routes"] += [
            route("private", PRIVATE, client_ca_file=old),
            {"name": "open", "hosts": [PRIVATE], "path_prefix": "/echo/open", "auth": "public", "backend": "scripted"},
            route("listed", LISTED, client_ca_file=str(both), client_uris=[SPIFFE]),
            route("revoking", REVOKING, client_ca_file=old, client_crl_file=str(current)),
            route("stale", STALE, client_ca_file=old, client_crl_file=str(stale)),
            route("missing", MISSING, client_ca_file=str(cls.directory / "nothing.pem")),
            route("both", BOTH, client_ca_file=str(both)),
            route("any", "*.wild.sluice.test", client_ca_file=str(cls.new.certificate)),
        ]

    def fetch(self, host: str, certificate: list[str] = [], path: str = "/echo", **keys: object) -> Answer:
        options = [*certificate, *keys.pop("options", [])]
        return self.neighbour.fetch(host, path, options=options, **keys)

    def assert_status(self, status: int, *arguments: object, **keys: object) -> Answer:
        answer = self.fetch(*arguments, **keys)
        self.assertEqual(answer.status, status, f"{answer}\n{self.explain()}")
        return answer

    def test_only_a_certificate_of_the_routes_own_ca_passes(self) -> None:
        for version in ("1.2", "1.3"):
            options = [f"--tlsv{version}", "--tls-max", version]
            for protocol in ("--http1.1", "--http2"):
                with self.subTest(version=version, protocol=protocol):
                    keys = {"options": [*options, protocol]}
                    self.assert_status(200, PRIVATE, self.good, **keys)
                    self.assert_status(403, PRIVATE, **keys)
                    self.assert_status(403, PRIVATE, self.other, **keys)
        self.assert_status(200, "anything.wild.sluice.test", self.other)
        self.assert_status(403, "anything.wild.sluice.test", self.good)
        self.assert_status(403, "anything.wild.sluice.test")

    def test_through_the_tunnel_the_certificate_is_needed_too(self) -> None:
        self.assertEqual(self.inside.fetch(PRIVATE, "/echo").status, 403)
        self.assertEqual(self.inside.fetch(PRIVATE, "/echo", options=self.good).status, 200)

    def test_dates_and_usage(self) -> None:
        for name, keys in (("expired", {"days": (-3, -1)}), ("early", {"days": (1, 3)}),
                           ("server", {"usage": "serverAuth"})):
            with self.subTest(name):
                self.assert_status(403, PRIVATE, self.old.client(name, **keys))

    def test_a_public_route_on_the_same_host_stays_public(self) -> None:
        for certificate in ([], self.good, self.other):
            self.assert_status(200, PRIVATE, certificate, path="/echo/open")

    def test_another_hosts_connection_is_misdirected(self) -> None:
        self.assert_status(421, PRIVATE, self.good, sni="outside.sluice.test")
        self.assert_status(421, PRIVATE, self.other, sni=BOTH)

    def test_revocation(self) -> None:
        self.assert_status(200, REVOKING, self.good)
        self.assert_status(403, REVOKING, self.revoked)
        self.assert_status(200, PRIVATE, self.revoked)  # that route asks for no list

    def test_what_cannot_be_checked_is_closed_and_all_else_serves(self) -> None:
        for certificate in (self.good, self.revoked):
            self.assert_status(503, STALE, certificate)
            self.assert_status(503, MISSING, certificate)
        self.assert_status(503, MISSING)
        self.assert_status(200, PRIVATE, self.good)
        self.assert_serves()

    def test_two_cas_at_once(self) -> None:
        self.assert_status(200, BOTH, self.good)
        self.assert_status(200, BOTH, self.other)

    def test_allow_lists(self) -> None:
        self.assert_status(200, LISTED, self.good)
        self.assert_status(403, LISTED, self.other)
        # Two URIs are nobody in particular.
        self.assert_status(403, LISTED, self.old.client("two", f"URI:{SPIFFE},URI:spiffe://sluice.test/x"))

    def test_the_backend_learns_who_it_is_and_nothing_forged(self) -> None:
        forged = [option for name in ("X-Forwarded-Tls-Client-Cert", "X-Forwarded-Tls-Client-Cert-Info")
                  for option in ("-H", f"{name}: forged")]
        headers = _headers(self.assert_status(200, PRIVATE, self.good, options=forged))
        pem = "".join(Path(self.good[1]).read_text().strip().splitlines()[1:-1])
        self.assertEqual(headers["x-forwarded-tls-client-cert"], [pem])
        [info] = headers["x-forwarded-tls-client-cert-info"]
        self.assertIn("Subject%3D%22CN%3Dhappy%22%3BIssuer%3D%22CN%3DSluice+clients%2C+old%22", info)
        self.assertIn("SAN%3D%22happy.sluice.test%2Cme%40sluice.test%2Cspiffe%3A%2F%2Fsluice.test%2Fhappy%22", info)
        for name in ("outside.sluice.test", PRIVATE):
            seen = _headers(self.assert_status(200, name, path="/echo/open", options=forged))
            self.assertFalse([key for key in seen if "client-cert" in key.replace("_", "-")])

    def test_the_access_log_tells_whose_request_it_was(self) -> None:
        def line_about(path: str) -> dict:
            lines = [json.loads(line) for line in self.log_file.read_text().split("\n")[:-1]]
            return next((line for line in lines if line.get("path") == path), {})

        for protocol in ("--http1.1", "--http2"):
            for status, path, certificate in ((200, "/echo/good", self.good), (403, "/echo/none", []),
                                              (403, "/echo/other", self.other), (200, "/echo/open/good", self.good)):
                path += protocol
                with self.subTest(path=path):
                    self.assert_status(status, PRIVATE, certificate, path=path, options=[protocol])
                    line = until(lambda: line_about(path), f"a line about {path}", 30)
                    told = line.get("certificate_subject"), line.get("certificate_serial")
                    # Only where a certificate was asked for and counted.
                    self.assertEqual(told, ("CN=happy", self.serial_of(self.good)) if "echo/good" in path
                                     else (None, None))

    @staticmethod
    def serial_of(certificate: list[str]) -> str:
        said = processes.run(["openssl", "x509", "-noout", "-serial", "-in", certificate[1]])
        return said.strip().partition("=")[2].lower().lstrip("0")

    def s_client(self, host: str, *options: str, certificate: bool = True) -> str:
        """One request with openssl s_client: what it says of the session, and the answer."""
        shown = ["-cert", self.good[1], "-key", self.good[3]] if certificate else []
        client = self.topology.neighbour.popen(
            ["openssl", "s_client", "-connect", f"{Topology.NODE}:{PORT}", "-servername", host, "-ign_eof",
             *shown, *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        request = f"GET /echo HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        return client.communicate(request.encode(), timeout=60)[0].decode(errors="replace")

    def test_a_session_resumes_with_its_certificate_and_nowhere_else(self) -> None:
        kept, foreign = str(self.directory / "private.session"), str(self.directory / "public.session")
        first = self.s_client(PRIVATE, "-sess_out", kept)
        self.assertIn("New, TLSv1.3", first)
        self.assertIn("HTTP/1.1 200", first)
        copy = str(self.directory / "copy.session")
        shutil.copyfile(kept, copy)
        # Without the certificate at hand: the session brings it.
        again = self.s_client(PRIVATE, "-sess_in", copy, certificate=False)
        self.assertIn("Reused, TLSv1.3", again)
        self.assertIn("HTTP/1.1 200", again)
        for host in (BOTH, "outside.sluice.test"):
            self.assertIn("New, TLSv1.3", self.s_client(host, "-sess_in", kept))

        opened = self.s_client("outside.sluice.test", "-sess_out", foreign, certificate=False)
        self.assertIn("HTTP/1.1 200", opened)
        smuggled = self.s_client(PRIVATE, "-sess_in", foreign, certificate=False)
        self.assertIn("New, TLSv1.3", smuggled)
        self.assertIn("HTTP/1.1 403", smuggled)

    def test_tls_1_2_resumes_where_no_certificate_is_asked_for(self) -> None:
        kept, none = self.directory / "old.session", self.directory / "none.session"
        self.s_client("outside.sluice.test", "-tls1_2", "-sess_out", str(kept))
        self.assertIn("Reused, TLSv1.2",
                      self.s_client("outside.sluice.test", "-tls1_2", "-sess_in", str(kept)))
        self.assertIn("New, TLSv1.2", self.s_client(PRIVATE, "-tls1_2", "-sess_in", str(kept)))
        self.assertIn("HTTP/1.1 200", self.s_client(PRIVATE, "-tls1_2", "-sess_out", str(none)))
        self.assertFalse(none.exists())

    def test_a_reload_that_asks_for_more_ends_sessions(self) -> None:
        kept = str(self.directory / "reload.session")
        self.s_client(PRIVATE, "-sess_out", kept)
        route = next(entry for entry in self.node.document["routes"] if entry["name"] == "private")
        self.addCleanup(self.set_trust, route, route["client_ca_file"])
        self.set_trust(route, str(self.directory / "both.pem"))
        after = self.s_client(PRIVATE, "-sess_in", kept)
        self.assertIn("New, TLSv1.3", after)
        self.assertIn("HTTP/1.1 200", after)
        self.assert_status(200, PRIVATE, self.other)

    def set_trust(self, route: dict, ca_file: str) -> None:
        route["client_ca_file"] = ca_file
        self.node.write()
        code, answer = self.node.ask("/v1/reload", "POST")
        self.assertEqual(code, 200, answer)


def _headers(echo: Answer) -> dict[str, list[str]]:
    seen: dict[str, list[str]] = {}
    for name, value in echo.json()["headers"]:
        seen.setdefault(name.lower(), []).append(value)
    return seen
