"""Large bodies over every way in and every way out, compared by their hashes.

In: HTTP/1.0, HTTP/1.1 and HTTP/2, in the clear and over TLS 1.2 and 1.3, with curl. Out: HTTP/1.1 and HTTP/2, in the
clear, over TLS and over a Unix socket, to nginx, behind which the scripted backend makes the bodies.
"""

import hashlib
import json
import os
import shutil
import subprocess
import unittest
from pathlib import Path
from typing import ClassVar

from harness.case import PORT, PUBLIC, SystemTest
from harness.network import Topology
from harness.node import Node
from harness.payload import Payload
from harness.waiting import until

SIZE = int(os.environ.get("SLUICE_TEST_COMBINATION_BYTES", 3_000_000))
PLAIN_PORT = 3480

CLIENTS = {
    "HTTP/1.0 over TLS 1.3": ("https", ["--http1.0", "--no-alpn", "--tlsv1.3"]),
    "HTTP/1.1 in the clear": ("http", ["--http1.1"]),
    "HTTP/1.1 over TLS 1.2": ("https", ["--http1.1", "--tls-max", "1.2"]),
    "HTTP/1.1 over TLS 1.3": ("https", ["--http1.1", "--tlsv1.3"]),
    "HTTP/2 over TLS 1.2": ("https", ["--http2", "--tls-max", "1.2"]),
    "HTTP/2 over TLS 1.3": ("https", ["--http2", "--tlsv1.3"]),
}

_NGINX = """
daemon off;
user root;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx.error;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {directory}/nginx-body;
    proxy_temp_path {directory}/nginx-proxy;
    fastcgi_temp_path {directory}/nginx-fastcgi;
    uwsgi_temp_path {directory}/nginx-uwsgi;
    scgi_temp_path {directory}/nginx-scgi;
    proxy_http_version 1.1;
    proxy_buffering off;
    proxy_request_buffering off;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    server {{ listen {address}:8081; location / {{ proxy_pass {backend}; }} }}
    server {{ listen unix:{directory}/nginx.sock; location / {{ proxy_pass {backend}; }} }}
    server {{ listen {address}:8082 ssl; location / {{ proxy_pass {backend}; }} }}
    server {{ listen {address}:8083 http2; location / {{ proxy_pass {backend}; }} }}
    server {{ listen {address}:8084 ssl http2; location / {{ proxy_pass {backend}; }} }}
}}
"""


class Combinations(SystemTest):
    node: ClassVar[Node]
    upload: ClassVar[Path]
    backends: ClassVar[list[str]]

    @classmethod
    def setUpClass(cls) -> None:
        if shutil.which("nginx") is None:
            raise unittest.SkipTest("not installed: nginx")
        super().setUpClass()
        configuration = cls.directory / "nginx.conf"
        configuration.write_text(_NGINX.format(directory=cls.directory, address=Topology.BACKEND,
                                               backend=cls.backend.url, certificate=cls.certificate[0],
                                               key=cls.certificate[1]))
        cls.topology.backend.start(["nginx", "-c", str(configuration), "-e", str(cls.directory / "nginx.error")],
                                   cls.directory / "nginx.log")
        until(lambda: (cls.directory / "nginx.sock").exists() and is_open(cls.topology, 8084), "nginx serves", 30)
        cls.upload = cls.directory / "upload"
        with cls.upload.open("wb") as file:
            for chunk in Payload(seed=2, size=SIZE).chunks():
                file.write(chunk)
        document = cls.make_configuration()
        document["limits"] = {"handshakes_per_client": 0, "connections_per_client": 0}
        document["listeners"].append({"name": "plain", "address": f"0.0.0.0:{PLAIN_PORT}", "protocol": "http"})
        trust = {"ca_file": cls.authority.certificate, "server_name": PUBLIC}
        servers = {"http": ({"url": f"http://{Topology.BACKEND}:8081"}, {}),
                   "unix": ({"url": f"unix:{cls.directory}/nginx.sock"}, {}),
                   "https": ({"url": f"https://{Topology.BACKEND}:8082", **trust}, {}),
                   "h2c": ({"url": f"http://{Topology.BACKEND}:8083"}, {"protocol": "h2"}),
                   "h2": ({"url": f"https://{Topology.BACKEND}:8084", **trust}, {"protocol": "h2"})}
        cls.backends = list(servers)
        document["backends"] = [{"name": name, "servers": [server], **more} for name, (server, more) in servers.items()]
        document["routes"] = [{"name": name, "hosts": [f"{name}.wild.sluice.test"], "auth": "public", "backend": name} for name in servers]
        cls.node = cls.make_node(document).start()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.node.stop()

    def test_downloads(self) -> None:
        for path, seed in (("/stream", 1), ("/chunked", 3)):
            expected = Payload(seed=seed, size=SIZE).sha256()
            for client, backend in self.combinations():
                with self.subTest(path=path, client=client, backend=backend):
                    body = self.curl(client, backend, f"{path}?size={SIZE}&seed={seed}")
                    self.assertEqual((len(body), hashlib.sha256(body).hexdigest()), (SIZE, expected))

    def test_uploads(self) -> None:
        expected = Payload(seed=2, size=SIZE).sha256()
        for with_length in (True, False):
            for client, backend in self.combinations():
                if not with_length and "1.0" in client:
                    continue  # HTTP/1.0 has no body without a length
                with self.subTest(with_length=with_length, client=client, backend=backend):
                    source = str(self.upload) if with_length else "-"
                    said = json.loads(self.curl(client, backend, "/sink", "--upload-file", source))
                    self.assertEqual((said["size"], said["sha256"]), (SIZE, expected))

    def test_a_body_of_nothing(self) -> None:
        for client, backend in self.combinations():
            with self.subTest(client=client, backend=backend):
                self.assertEqual(self.curl(client, backend, "/stream?size=0&seed=1"), b"")

    def combinations(self):
        return ((client, backend) for client in CLIENTS for backend in self.backends)

    def curl(self, client: str, backend: str, path: str, *options: str) -> bytes:
        scheme, ways = CLIENTS[client]
        port = PORT if scheme == "https" else PLAIN_PORT
        host = f"{backend}.wild.sluice.test"
        command = ["curl", "--silent", "--show-error", "--fail", "--globoff", "--noproxy", "*", "--max-time", "120",
                   "--cacert", str(self.authority.certificate), "--resolve", f"{host}:{port}:{Topology.NODE}",
                   "--header", "Expect:", *ways, *options, f"{scheme}://{host}:{port}{path}"]
        with self.upload.open("rb") as source:
            done = self.topology.neighbour.popen(command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            body, words = done.communicate()
        self.assertEqual(done.returncode, 0, words.decode(errors="replace"))
        return body

    def explain(self) -> str:
        return f"the node's last words:\n{self.node.tail()}\nnginx:\n{(self.directory / 'nginx.error').read_text()[-2000:]}"


def is_open(topology: Topology, port: int) -> bool:
    try:
        topology.backend.connect(Topology.BACKEND, port).close()
    except OSError:
        return False
    return True
