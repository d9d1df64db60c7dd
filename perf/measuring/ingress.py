"""Two ways to end WireGuard and TLS in front of one backend, and the stage on which they are measured.

    client namespace                      node namespace
    curl ─ wireguard-go ── UDP, veth ──▶ [ the side that is measured ] ── loopback ──▶ nginx with a file

The client, the backend, the keys, the certificate and the cipher are the same for every side; the
client's programs are started anew for each run, so that no run inherits anything from the one before.
"""

import contextlib
import functools
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Protocol

from harness import cleanup, pki
from harness.network import Topology
from harness.node import Node, binary, configuration
from harness.payload import Payload
from harness.processes import Process
from harness.waiting import until
from harness.wireguard import KeyPair, Peer, WireguardClient

from . import cpu, machine

HOST, PORT, BACKEND_PORT = "ingress.sluice.test", 3443, 8080
CIPHER = "TLS_AES_128_GCM_SHA256"

# Where the file is and where it arrives: on a disk, the disk would be measured.
_MEMORY = Path("/dev/shm")

# Common to both uses of nginx. Its own temporary folders, so that it needs none of the system's.
_NGINX = """
user root;
daemon off;
error_log stderr warn;
pid {folder}/nginx.pid;
worker_processes {workers};
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    tcp_nodelay on;
{http}
}}
"""

_FILE_SERVER = """
    sendfile on;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
"""

# As somebody would tune it who wants large downloads to be cheap: connections to the backend are
# kept, and a body that the client does not take yet is held back rather than written to a disk.
_PROXY = """
    upstream backend {{ server 127.0.0.1:{backend}; keepalive 16; }}
    server {{
        listen {address}:{port} ssl;
        server_name {host};
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;
        ssl_conf_command Ciphersuites {cipher};
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


class Nginx:
    def __init__(self, stage: "Stage", name: str, http: str, workers: str = "auto"):
        folder = stage.folder / f"nginx-{name}-{cleanup.unique()}"
        folder.mkdir()
        (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, workers=workers, http=http))
        self.process = stage.node.start(["nginx", "-p", str(folder), "-e", "stderr",
                                         "-c", str(folder / "nginx.conf")], folder / "log")

    def pids(self) -> list[int]:
        return [self.process.pid, *cpu.children(self.process.pid)]


class Side(Protocol):
    """What is measured: everything of the server that is not the backend."""

    name: str

    def start(self) -> None: ...
    def processes(self) -> dict[str, list[int]]:
        """The ids of its processes, by program."""
    def facts(self) -> dict: ...
    def words(self) -> str:
        """What its programs said last, for people who ask why it failed."""
    def stop(self) -> None: ...


@dataclass
class Stage:
    """What all runs share."""

    folder: Path
    size: int
    topology: Topology
    authority: pki.Authority
    certificate: tuple[Path, Path]
    node_keys: KeyPair
    client_keys: KeyPair
    payload: Payload
    backend: Nginx | None = None

    @staticmethod
    def build(size: int) -> "Stage":
        remove_orphans()
        folder = Path(tempfile.mkdtemp(prefix=f"sluice-perf-{os.getpid()}-", dir=_MEMORY))
        cleanup.later(lambda: shutil.rmtree(folder))
        need, free = 2 * size + (64 << 20), shutil.disk_usage(folder).free
        if free < need:
            raise SystemExit(f"{_MEMORY} has {free >> 20} MiB free, and {need >> 20} are needed; try a smaller --bytes")
        authority = pki.Authority(folder, "Measurement CA")
        stage = Stage(folder, size, Topology(), authority, authority.issue("server", [HOST]),
                      KeyPair.make(), KeyPair.make(), Payload(seed=1, size=size))
        (folder / "root").mkdir()
        with (folder / "root/file").open("wb") as file:
            for chunk in stage.payload.chunks():
                file.write(chunk)
        (folder / "root/hello").write_text("hello\n")
        stage.backend = Nginx(stage, "backend", _FILE_SERVER.format(port=BACKEND_PORT, root=folder / "root"))
        until(lambda: stage.listens("127.0.0.1", BACKEND_PORT), "the backend listens")
        return stage

    @property
    def node(self):
        return self.topology.node

    def listens(self, address: str, port: int) -> bool:
        try:
            self.node.connect(address, port, seconds=1).close()
        except OSError:
            return False
        return True

    @contextlib.contextmanager
    def client(self) -> Iterator["Client"]:
        client = Client(self)
        try:
            yield client
        finally:
            client.wireguard.down()


class Client:
    """A stock WireGuard client and curl."""

    def __init__(self, stage: Stage):
        self.stage = stage
        self.wireguard = WireguardClient(stage.topology.client, stage.folder, stage.client_keys)
        self.wireguard.up(Peer(stage.node_keys.public, [f"{Topology.NODE_INNER}/32"],
                               endpoint=f"{Topology.NODE}:{Topology.WIREGUARD_PORT}"))

    def warm_up(self) -> str:
        """The handshakes and a small answer; returns curl's words about the TLS connection."""

        last = ""

        def said() -> str | None:
            nonlocal last
            curl = self._curl("/hello", 5, ["--verbose"])
            words, errors = curl.communicate()
            last = (errors + words).decode(errors="replace")[-1000:]
            if curl.returncode or words.strip() != b"hello":
                return None
            return next((line for line in errors.decode(errors="replace").splitlines()
                         if "SSL connection using" in line), None)

        try:
            return until(said, "the client gets an answer through the tunnel", 30).removeprefix("* ")
        except AssertionError as error:
            raise AssertionError(f"{error}; the last words of curl:\n{last}") from None

    def download(self, to: Path) -> float:
        """The file, in seconds, from the request to the last byte."""
        curl = self._curl("/file", 600, ["--fail", "--output", str(to), "--write-out", "%{time_total}"])
        words, errors = curl.communicate()
        if curl.returncode:
            raise AssertionError(f"curl: exit code {curl.returncode} {errors.decode(errors='replace').strip()}")
        return float(words)

    def _curl(self, path: str, seconds: int, options: list[str]) -> subprocess.Popen:
        return self.stage.topology.client.popen(
            ["curl", "--silent", "--show-error", "--noproxy", "*", "--http1.1", "--tlsv1.3", "--tls13-ciphers", CIPHER,
             "--cacert", str(self.stage.authority.certificate), "--max-time", str(seconds),
             "--resolve", f"{HOST}:{PORT}:{Topology.NODE_INNER}", *options, f"https://{HOST}:{PORT}{path}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Stock:
    """wireguard-go, then nginx with TLS as a proxy."""

    def __init__(self, stage: Stage, wireguard_go: Path | None = None):
        self.name = "wireguard-go + nginx"
        self._stage = stage
        self._program = wireguard_go

    def start(self) -> None:
        stage = self._stage
        self._wireguard = WireguardClient(stage.node, stage.folder, stage.node_keys,
                                          addresses=[f"{Topology.NODE_INNER}/24"],
                                          listen_port=Topology.WIREGUARD_PORT)
        with _first_in_path(self._program):
            self._wireguard.up(Peer(stage.client_keys.public, [f"{Topology.CLIENT_INNER}/32"]))
        certificate, key = stage.certificate
        self._nginx = Nginx(stage, "proxy", _PROXY.format(
            backend=BACKEND_PORT, address=Topology.NODE_INNER, port=PORT, host=HOST, certificate=certificate,
            key=key, cipher=CIPHER))
        until(lambda: stage.listens(Topology.NODE_INNER, PORT), "nginx listens")

    def processes(self) -> dict[str, list[int]]:
        return {"wireguard-go": [self._wireguard.process.pid], "nginx": self._nginx.pids()}

    def facts(self) -> dict:
        return {}

    def words(self) -> str:
        return self._wireguard.process.output()[-2000:] + self._nginx.process.output()[-2000:]

    def stop(self) -> None:
        self._nginx.process.end()
        self._wireguard.down()


class Sluice:
    """One process. All runs are of one copy of the program, so that a build that goes on beside the
    measurement does not change what is measured."""

    def __init__(self, stage: Stage, engine: str = "auto", workers: int = 0):
        copy = stage.folder / "sluice"
        if not copy.exists():
            shutil.copy2(binary(), copy)
            os.environ["SLUICE_BINARY"] = str(copy)
        self.name = "sluice" if engine == "auto" else f"sluice, {engine}"
        self._stage, self._engine, self._workers = stage, engine, workers

    def start(self) -> None:
        stage = self._stage
        key = stage.folder / "wireguard.key"
        key.touch(mode=0o600)
        key.write_text(stage.node_keys.private + "\n")
        document = configuration(engine=self._engine, private_key_file=key, certificate=stage.certificate,
                                 hosts=[HOST])
        document["node"]["workers"] = self._workers
        document["wireguard"]["addresses"] = [f"{Topology.NODE_INNER}/24"]
        document["wireguard"]["peers"] = [{"name": "client", "public_key": stage.client_keys.public,
                                           "allowed_ips": [f"{Topology.CLIENT_INNER}/32"]}]
        document["listeners"] = [{"name": "tls", "address": f"0.0.0.0:{PORT}"}]
        document["routes"] = [{"name": "all", "hosts": [HOST], "auth": "tailscale-only", "backend": "files"}]
        document["backends"] = [{"name": "files", "servers": [{"url": f"http://127.0.0.1:{BACKEND_PORT}"}]}]
        self._node = Node(stage.node, stage.folder, document).start()

    def processes(self) -> dict[str, list[int]]:
        return {"sluice": [self._node.process.pid]}

    def facts(self) -> dict:
        status = self._node.status()
        return {key: status[key] for key in ("engine", "workers", "offloads", "drops") if key in status}

    def words(self) -> str:
        return self._node.tail()

    def stop(self) -> None:
        self._node.stop()


def remove_orphans() -> None:
    """Gives back the memory of measurements that were killed before they could."""
    for folder in _MEMORY.glob("sluice-perf-*"):
        found = re.fullmatch(r"sluice-perf-(\d+)-.*", folder.name)
        if found and not Path(f"/proc/{found[1]}").exists():
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _first_in_path(program: Path | None) -> Iterator[None]:
    """`wireguard-go` means this program for a while."""
    if program is None:
        yield
        return
    before = os.environ["PATH"]
    with tempfile.TemporaryDirectory(prefix="sluice-perf-") as folder:
        (Path(folder) / "wireguard-go").symlink_to(program.resolve())
        os.environ["PATH"] = f"{folder}:{before}"
        try:
            yield
        finally:
            os.environ["PATH"] = before


def side_named(name: str, stage: Stage, wireguard_go: Path | None, workers: int) -> Side:
    sides = {
        "stock": functools.partial(Stock, stage, wireguard_go),
        "sluice": functools.partial(Sluice, stage, "auto", workers),
        "sluice-epoll": functools.partial(Sluice, stage, "epoll", workers),
        "sluice-io_uring": functools.partial(Sluice, stage, "io_uring", workers),
    }
    return sides[name]()


SIDES = ("stock", "sluice", "sluice-epoll", "sluice-io_uring")


def versions(wireguard_go: Path | None) -> dict[str, str]:
    return {
        "sluice": machine.version_of([str(binary()), "version"]),
        "wireguard-go": machine.version_of([str(wireguard_go or "wireguard-go"), "--version"]),
        "nginx": machine.version_of(["nginx", "-v"]),
        "openssl": machine.version_of(["openssl", "version"]),
        "curl": machine.version_of(["curl", "--version"]),
    }
