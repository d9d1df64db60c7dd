"""TLS proxies, configured alike and started alike, each alone on one core, in front of one backend.

    core 1: load, backend (nginx with files in memory)     core 0: the proxy that is measured

All in one network namespace, over loopback.
"""

import os
import re
import resource
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness import cleanup, network, pki, processes
from harness.network import Namespace
from harness.node import Node, binary
from harness.payload import Payload
from harness.waiting import until

from . import cpu, machine

HOST, PORT, BACKEND_PORT = "ingress.sluice.test", 3443, 8080
CIPHER, CIPHER12 = "TLS_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"
LARGE, SMALL = "/large", "/small"
SMALL_BYTES = 128
SERVER_CORE, LOAD_CORE = 0, 1

# Where files are: on a disk, the disk would be measured.
_MEMORY = Path("/dev/shm")

_NGINX = """
user root;
daemon off;
error_log stderr warn;
pid {folder}/nginx.pid;
worker_processes 1;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    tcp_nodelay on;
    keepalive_timeout 300s;
    keepalive_requests 1000000000;
{http}
}}
"""

_FILE_SERVER = """
    sendfile on;
    sendfile_max_chunk 0;
    open_file_cache max=16;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
"""

# As somebody would tune it for speed: connections to the backend are kept, sessions resumed by tickets, and a
# body that the client does not take yet is held back rather than written to a disk.
_NGINX_PROXY = """
    upstream backend {{ server 127.0.0.1:{backend}; keepalive 256; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} ssl http2 backlog=4096;
        server_name {host};
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ciphers {cipher12};
        ssl_conf_command Ciphersuites {cipher};
        ssl_ecdh_curve X25519;
        ssl_session_tickets on;
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto https;
            proxy_buffers 16 64k;
            proxy_buffer_size 64k;
            proxy_max_temp_file_size 0;
        }}
    }}
"""

_HAPROXY = """
global
    nbthread 1
    maxconn {connections}
    maxpipes 100
    tune.ssl.default-dh-param 2048
    tune.bufsize 65536
    ssl-default-bind-ciphersuites {cipher}
    ssl-default-bind-ciphers {cipher12}
    ssl-default-bind-curves X25519
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout http-keep-alive 300s
    option http-keep-alive
    http-reuse always
    option splice-auto
frontend tls
    bind 127.0.0.1:{port} ssl crt {pem} alpn h2,http/1.1
    http-request set-header X-Forwarded-Proto https
    option forwardfor
    default_backend files
backend files
    server one 127.0.0.1:{backend}
"""


class Proxy(Protocol):
    name: str

    def start(self) -> None: ...
    def pids(self) -> list[int]: ...
    def words(self) -> str:
        """What it said last, for people who ask why it failed."""
    def facts(self) -> dict: ...
    def stop(self) -> None: ...


def connections_max() -> int:
    """How many every proxy can hold: HAProxy sets aside a second descriptor for each and a few hundred more."""
    return (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 600) // 2


@dataclass
class Stage:
    """What all runs share."""

    folder: Path
    namespace: Namespace
    authority: pki.Authority
    certificate: tuple[Path, Path]
    large: Payload
    load: Path  # the http_load program

    @staticmethod
    def build(large_bytes: int, load: Path) -> "Stage":
        network.remove_orphans()
        for folder in _MEMORY.glob("sluice-perf-*"):
            found = re.fullmatch(r"sluice-perf-(\d+)-.*", folder.name)
            if found and not Path(f"/proc/{found[1]}").exists():
                shutil.rmtree(folder, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"sluice-perf-{os.getpid()}-", dir=_MEMORY))
        cleanup.later(lambda: shutil.rmtree(folder))
        authority = pki.Authority(folder, "Measurement CA")
        stage = Stage(folder, Namespace("node", cleanup.unique()), authority, authority.issue("server", [HOST]),
                      Payload(seed=1, size=large_bytes), folder / "http_load")
        stage.namespace.set_kernel("ipv4/tcp_max_syn_backlog", 4096)
        shutil.copy2(load, stage.load)
        root = folder / "root"
        root.mkdir()
        with (root / LARGE[1:]).open("wb") as file:
            for chunk in stage.large.chunks():
                file.write(chunk)
        (root / SMALL[1:]).write_bytes(b"x" * (SMALL_BYTES - 1) + b"\n")
        stage.nginx("backend", _FILE_SERVER.format(port=BACKEND_PORT, root=root), LOAD_CORE)
        until(lambda: stage.listens(BACKEND_PORT), "the backend listens")
        return stage

    def nginx(self, name: str, http: str, core: int) -> processes.Process:
        folder = self.folder / f"nginx-{name}-{cleanup.unique()}"
        folder.mkdir()
        (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, http=http))
        return self.start(["nginx", "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")],
                          folder / "log", core)

    def start(self, command: list[str], log: Path, core: int) -> processes.Process:
        return self.namespace.start(["taskset", "-c", str(core), *command], log)

    def listens(self, port: int) -> bool:
        try:
            self.namespace.connect("127.0.0.1", port, seconds=1).close()
        except OSError:
            return False
        return True


class Nginx:
    name = "nginx"

    def __init__(self, stage: Stage):
        self._stage = stage

    def start(self) -> None:
        certificate, key = self._stage.certificate
        self._process = self._stage.nginx("proxy", _NGINX_PROXY.format(
            backend=BACKEND_PORT, port=PORT, host=HOST, certificate=certificate, key=key, cipher=CIPHER,
            cipher12=CIPHER12), SERVER_CORE)

    def pids(self) -> list[int]:
        return [self._process.pid, *cpu.children(self._process.pid)]

    def words(self) -> str:
        return self._process.output()[-2000:]

    def facts(self) -> dict:
        return {}

    def stop(self) -> None:
        self._process.end()


class Haproxy:
    name = "haproxy"

    def __init__(self, stage: Stage):
        self._stage = stage

    def start(self) -> None:
        folder = self._stage.folder / f"haproxy-{cleanup.unique()}"
        folder.mkdir()
        certificate, key = self._stage.certificate
        (folder / "both.pem").write_text(certificate.read_text() + key.read_text())
        (folder / "haproxy.cfg").write_text(_HAPROXY.format(port=PORT, backend=BACKEND_PORT, cipher=CIPHER,
                                                            cipher12=CIPHER12, pem=folder / "both.pem",
                                                            connections=connections_max()))
        self._process = self._stage.start(["haproxy", "-db", "-f", str(folder / "haproxy.cfg")], folder / "log",
                                          SERVER_CORE)

    def pids(self) -> list[int]:
        return [self._process.pid]

    def words(self) -> str:
        return self._process.output()[-2000:]

    def facts(self) -> dict:
        return {}

    def stop(self) -> None:
        self._process.end()


class Sluice:
    """All runs are of one copy of the program, so that a build beside the measurement changes nothing."""

    def __init__(self, stage: Stage, engine: str = "auto"):
        copy = stage.folder / "sluice"
        if not copy.exists():
            shutil.copy2(binary(), copy)
            os.environ["SLUICE_BINARY"] = str(copy)
        self.name = "sluice" if engine == "auto" else f"sluice-{engine}"
        self._stage, self._engine = stage, engine

    def start(self) -> None:
        stage = self._stage
        certificate, key = stage.certificate
        self._node = Node(stage.namespace, stage.folder, {
            "node": {"name": "measured", "ip": "127.0.0.1", "state_dir": stage.folder, "workers": 1},
            "io": {"engine": self._engine},
            "limits": {"idle_timeout": "300s", "connections_per_client": 0, "handshakes_per_client": 0},
            "listeners": [{"name": "tls", "address": f"127.0.0.1:{PORT}"}],
            "certificates": [{"hosts": [HOST], "cert_file": certificate, "key_file": key}],
            "routes": [{"name": "all", "hosts": [HOST], "auth": "public", "backend": "files"}],
            "backends": [{"name": "files", "servers": [{"url": f"http://127.0.0.1:{BACKEND_PORT}"}]}],
        })
        self._node.write()
        self._node.process = stage.start([str(binary()), "run", "--config", str(self._node.config)],
                                         self._node.log, SERVER_CORE)
        self._node.await_ready()

    def pids(self) -> list[int]:
        return [self._node.process.pid]

    def words(self) -> str:
        return self._node.tail()

    def facts(self) -> dict:
        status = self._node.status()
        return {key: status[key] for key in ("engine", "offloads", "drops") if key in status}

    def stop(self) -> None:
        self._node.stop()


NAMES = ("nginx", "haproxy", "sluice", "sluice-epoll", "sluice-io_uring")


def proxy_named(name: str, stage: Stage) -> Proxy:
    if name == "nginx":
        return Nginx(stage)
    if name == "haproxy":
        return Haproxy(stage)
    return Sluice(stage, name.partition("-")[2] or "auto")


def versions() -> dict[str, str]:
    return {
        "sluice": machine.version_of([str(binary()), "version"]),
        "nginx": machine.version_of(["nginx", "-v"]),
        "haproxy": machine.version_of(["haproxy", "-v"]),
        "openssl": machine.version_of(["openssl", "version"]),
        "curl": machine.version_of(["curl", "--version"]),
        "h2load": machine.version_of(["h2load", "--version"]),
    }
