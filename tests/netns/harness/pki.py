"""A certificate authority of its own, made with the openssl command, so that the certificates that the
node is given come from somebody else's code."""

from pathlib import Path
from typing import Sequence

from . import processes


class Authority:
    """Keeps ca.crt and ca.key in its directory; makes them if they are not there."""

    def __init__(self, directory: Path, name: str = "Sluice test CA"):
        self.directory = directory
        self.certificate = directory / "ca.crt"
        self._key = directory / "ca.key"
        if not (self.certificate.exists() and self._key.exists()):
            _make_key(self._key)
            _openssl("req", "-x509", "-new", "-sha256", "-key", self._key, "-days", "3650",
                     "-subj", f"/CN={name}", "-out", self.certificate,
                     "-addext", "basicConstraints=critical,CA:TRUE,pathlen:0",
                     "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, name: str, hosts: Sequence[str], days: int = 397) -> tuple[Path, Path]:
        """A server certificate for `hosts`: the paths of NAME.crt and NAME.key."""
        certificate, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        request, extensions = self.directory / f"{name}.csr", self.directory / f"{name}.ext"
        _make_key(key)
        _openssl("req", "-new", "-sha256", "-key", key, "-subj", f"/CN={hosts[0]}", "-out", request)
        extensions.write_text("basicConstraints=critical,CA:FALSE\n"
                              "keyUsage=critical,digitalSignature\n"
                              "extendedKeyUsage=serverAuth\n"
                              f"subjectAltName={','.join('DNS:' + host for host in hosts)}\n")
        _openssl("x509", "-req", "-sha256", "-in", request, "-CA", self.certificate,
                 "-CAkey", self._key, "-CAcreateserial", "-days", str(days),
                 "-extfile", extensions, "-out", certificate)
        request.unlink()
        extensions.unlink()
        return certificate, key


def expires_within(certificate: Path, seconds: int) -> bool:
    try:
        _openssl("x509", "-in", certificate, "-noout", "-checkend", str(seconds))
    except processes.Failed:
        return True
    return False


def _make_key(path: Path) -> None:
    path.touch(mode=0o600)
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)


def _openssl(*arguments: object) -> None:
    processes.run(["openssl", *map(str, arguments)])
