"""Clients: curl where a stock client is wanted, sockets where the test has to misbehave or to count."""

import hashlib
import http.client
import json
import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable

from .network import Namespace, authority
from .pki import Authority


@dataclass
class Answer:
    status: int  # 0: there was none
    body: bytes
    headers: dict[str, str]  # names in lower case
    error: str  # curl's, empty when all went well
    seconds: float

    def json(self) -> dict:
        return json.loads(self.body)

    def __str__(self) -> str:
        return f"{self.status} {self.body[:200]!r} {self.error}".strip()


@dataclass
class Site:
    """Where a client finds the node: a namespace to start from, an address and a port to go to, and
    the authority that it trusts."""
    namespace: Namespace
    address: str
    port: int
    trust: Authority

    def fetch(self, host: str, path: str = "/", *, seconds: float = 15, sni: str | None = None,
              options: Iterable[str] = ()) -> Answer:
        """One request with curl. With `sni` the TLS name is another one than the Host header's."""
        # The head goes before the body, so that one stream tells both.
        command = self._curl(host, path, seconds, sni, ["--include", *options])
        done = self.namespace.popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE)
        output, words = done.communicate()
        written, _, facts = words.decode(errors="replace").rpartition("\n")
        error = written.strip()
        seconds_taken = float(facts or 0)
        status, headers, body = _split(output)
        return Answer(status, body, headers, error or (f"exit {done.returncode}" if done.returncode else ""),
                      seconds_taken)

    def download(self, host: str, path: str, *, seconds: float = 300) -> "Download":
        return Download(self.namespace.popen(
            self._curl(host, path, seconds, None, ["--fail"]), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE))

    def upload(self, host: str, path: str, chunks: Iterable[bytes], *, size: int | None,
               seconds: float = 300) -> dict:
        """PUTs the chunks and returns the JSON answer. Without `size` the body is sent chunked."""
        framing = []
        if size is not None:
            framing = ["--header", "Transfer-Encoding:", "--header", f"Content-Length: {size}"]
        command = self._curl(host, path, seconds, None, ["--fail", "--upload-file", "-", *framing])
        curl = self.namespace.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE)
        try:
            for chunk in chunks:
                curl.stdin.write(chunk)
            curl.stdin.close()
        except BrokenPipeError:
            pass  # curl gave up; it says why
        answer, words = curl.stdout.read(), curl.stderr.read().decode(errors="replace")
        if curl.wait(seconds) != 0:
            raise AssertionError(f"the upload failed: {words.strip()}")
        return json.loads(answer)

    def tls(self, server_name: str | None, *, source: str | None = None, seconds: float = 10,
            alpn: list[str] | None = None) -> ssl.SSLSocket:
        """A TLS connection to speak over by hand."""
        context = ssl.create_default_context(cafile=self.trust.certificate)
        context.check_hostname = server_name is not None
        if alpn:
            context.set_alpn_protocols(alpn)
        plain = self.plain(source=source, seconds=seconds)
        try:
            return context.wrap_socket(plain, server_hostname=server_name)
        except BaseException:
            plain.close()
            raise

    def plain(self, *, source: str | None = None, seconds: float = 10) -> socket.socket:
        return self.namespace.connect(self.address, self.port, source=source, seconds=seconds)

    def keep_alive(self, server_name: str) -> http.client.HTTPConnection:
        """One connection for many requests; it fails rather than open a second one."""
        connection = http.client.HTTPConnection(server_name, self.port)
        connection.auto_open = False
        connection.sock = self.tls(server_name)
        return connection

    def _curl(self, host: str, path: str, seconds: float, sni: str | None,
              options: Iterable[str]) -> list[str]:
        name = sni or host
        command = ["curl", "--silent", "--show-error", "--globoff", "--noproxy", "*",
                   "--cacert", str(self.trust.certificate), "--max-time", str(seconds),
                   "--resolve", f"{name}:{self.port}:{authority(self.address, self.port).rpartition(':')[0]}",
                   "--write-out", "%{stderr}\n%{time_total}"]
        if sni is not None:
            command += ["--header", f"Host: {host}:{self.port}"]
        return [*command, *options, f"https://{name}:{self.port}{path}"]


class Download:
    """A curl that is downloading; its bytes are hashed as they are read."""

    def __init__(self, curl: subprocess.Popen):
        self._curl = curl
        self._digest = hashlib.sha256()
        self.size = 0

    def read(self, size: int) -> None:
        """Until `size` more bytes have come; fails if it ends before."""
        wanted = self.size + size
        while self.size < wanted:
            if not self._take(min(1 << 20, wanted - self.size)):
                raise AssertionError(f"the download ended after {self.size} bytes: {self._words()}")

    def finish(self) -> str:
        """Reads to the end and returns the SHA-256 of everything."""
        while self._take(1 << 20):
            pass
        words = self._words()
        if self._curl.wait(30) != 0:
            raise AssertionError(f"the download failed after {self.size} bytes: {words}")
        return self._digest.hexdigest()

    def give_up(self) -> None:
        self._curl.kill()
        self._curl.communicate()

    def _take(self, size: int) -> int:
        piece = self._curl.stdout.read1(size)
        self._digest.update(piece)
        self.size += len(piece)
        return len(piece)

    def _words(self) -> str:
        return self._curl.stderr.read().decode(errors="replace").strip()


def _split(output: bytes) -> tuple[int, dict[str, str], bytes]:
    """curl's --include output: interim answers, the final head, the body."""
    status, headers = 0, {}
    while output.startswith(b"HTTP/"):
        head, _, output = output.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split()[1])
        headers = {name.strip().lower(): value.strip()
                   for name, _, value in (line.partition(":") for line in lines)}
        if status >= 200:
            break
    return status, headers, output
