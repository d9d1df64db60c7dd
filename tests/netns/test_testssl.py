"""What testssl.sh finds when it looks at a node for weak protocols, weak ciphers and known holes."""

import json
import subprocess

from harness import cleanup
from harness.case import PORT, ServedTest
from harness.network import Topology

# What it says of every server whose certificate comes from a private CA, and of a bare name.
OF_THE_TEST_CA = {
    "cert_chain_of_trust",      # it does not know the CA
    "cert_trust",
    "cert_crlDistributionPoints", "cert_ocspURL", "cert_revocation", "cert_validityPeriod",
    "cert_expirationStatus",    # the test's certificate runs for about a year
    "DNS_CAArecord",            # the test's name is in no DNS
    "OCSP_stapling",            # no response is configured
    "scanProblem", "scanTime", "engine_problem", "optimal_proto",
    "HSTS", "HPKP", "security_headers", "banner_server", "banner_application", "cookie_count",  # the application's
}
WEAK = ("MEDIUM", "HIGH", "CRITICAL", "FATAL")
PROTOCOLS = {"SSLv2": False, "SSLv3": False, "TLS1": False, "TLS1_1": False, "TLS1_2": True, "TLS1_3": True}
MUST_BE_FINE = ("heartbleed", "CCS", "ticketbleed", "ROBOT", "secure_renego", "secure_client_renego", "CRIME_TLS",
                "POODLE_SSL", "fallback_SCSV", "SWEET32", "FREAK", "DROWN", "LOGJAM", "BEAST", "LUCKY13", "RC4")


class Testssl(ServedTest):
    def scan(self) -> list[dict]:
        output = self.directory / "testssl.json"
        scanner = self.topology.neighbour.popen(
            ["testssl", "--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none", "--ip", Topology.NODE,
             "--connect-timeout", "20", "--openssl-timeout", "20", "--jsonfile", str(output),
             "--protocols", "--fs", "--server-preference", "--std", "--server-defaults", "--vulnerable",
             f"outside.sluice.test:{PORT}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        cleanup.later(lambda: scanner.poll() is None and scanner.kill())
        try:
            said, _ = scanner.communicate(timeout=600)
        except subprocess.TimeoutExpired:
            self.fail("testssl.sh has not come to an end")
        self.assertTrue(output.exists(), said.decode(errors="replace"))
        return json.loads(output.read_text())

    def test_no_weak_protocol_no_weak_cipher_no_known_hole(self) -> None:
        findings = {finding["id"]: finding for finding in self.scan()}
        for name, offered in PROTOCOLS.items():
            with self.subTest(name):
                said = findings[name]["finding"]
                self.assertEqual("not offered" not in said, offered, said)
        for name in MUST_BE_FINE:
            with self.subTest(name):
                self.assertIn(findings[name]["severity"], ("OK", "INFO"), findings[name]["finding"])
        bad = {name: finding["finding"] for name, finding in findings.items()
               if finding["severity"] in WEAK and name.split(" ")[0] not in OF_THE_TEST_CA}
        self.assertEqual(bad, {})
        self.assert_serves()
