"""A running `sluice`, and the configuration it was given."""

import copy
import ctypes
import http.client
import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from . import cleanup
from .network import Namespace, Topology
from .processes import Process
from .waiting import until

_TREE = Path(__file__).resolve().parents[3]


def binary() -> Path:
    return Path(os.environ.get("SLUICE_BINARY", _TREE / "build/release/control/sluice"))


def has_io_uring() -> bool:
    """Whether this machine lets us have one, asked of the kernel and not of the node."""
    io_uring_setup = 425
    parameters = ctypes.create_string_buffer(120)
    descriptor = ctypes.CDLL(None).syscall(io_uring_setup, 1, parameters)
    if descriptor < 0:
        return False
    os.close(descriptor)
    return True


def toml(document: dict[str, Any]) -> str:
    """A configuration as text: tables, arrays of tables, and inline values below these."""
    blocks = []
    for name, value in document.items():
        if isinstance(value, list):
            blocks += [_block(f"[[{name}]]", table) for table in value]
        else:
            plain = {key: item for key, item in value.items() if not _is_tables(item) and item != []}
            if plain:
                blocks.append(_block(f"[{name}]", plain))
            for key, item in value.items():
                if _is_tables(item):
                    blocks += [_block(f"[[{name}.{key}]]", table) for table in item]
    return "\n".join(blocks)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _block(heading: str, table: dict[str, Any]) -> str:
    return "\n".join([heading, *(f"{key} = {_value(value)}" for key, value in table.items()), ""])


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value if isinstance(value, int) else str(value))


class _ControlConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, seconds: float):
        super().__init__("sluice", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Node:
    """`sluice run` in a namespace. `document` is the configuration; change it and write() it anew."""

    def __init__(self, namespace: Namespace, directory: Path, document: dict[str, Any]):
        self.namespace = namespace
        self.document = copy.deepcopy(document)
        serial = cleanup.unique()
        self.config = directory / f"node-{serial}.toml"
        self.control = directory / f"node-{serial}.sock"
        self.log = directory / f"node-{serial}.log"
        self.document.setdefault("control", {"socket": self.control})
        self.process: Process | None = None

    @property
    def interface(self) -> str:
        return self.document["wireguard"]["interface"]

    def write(self, text: str | None = None) -> None:
        """The configuration file becomes this text, or what the document says."""
        temporary = self.config.with_suffix(".new")
        temporary.write_text(toml(self.document) if text is None else text)
        temporary.rename(self.config)

    def start(self, seconds: float = 20) -> "Node":
        """Starts it and waits until it says that it serves."""
        self.launch()
        self.await_ready(seconds)
        return self

    def launch(self) -> None:
        self.write()
        self.process = self.namespace.start([str(binary()), "run", "--config", str(self.config)], self.log)

    def await_ready(self, seconds: float = 20) -> None:
        def ready() -> bool:
            if self.process.exit_code() is not None:
                raise AssertionError(f"the node ended at once, exit code {self.process.exit_code()}:\n"
                                     f"{self.process.output()}")
            try:
                return self.status()["state"] == "serving"
            except (OSError, http.client.HTTPException):
                return False

        until(ready, "the node answers on its control socket", seconds)

    def ask(self, path: str, method: str = "GET", seconds: float = 10) -> tuple[int, Any]:
        """One request over the control socket: status and JSON."""
        connection = _ControlConnection(self.control, seconds)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, json.loads(body) if body else None
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        code, answer = self.ask("/v1/status")
        if code != 200:
            raise AssertionError(f"GET /v1/status: {code} {answer}")
        return answer

    def command(self, *arguments: str, seconds: float = 30) -> subprocess.CompletedProcess:
        """The `sluice` command, spoken to this node if it is one that speaks to a node."""
        line = [*self.namespace.prefix, str(binary()), *arguments]
        if arguments[0] not in ("run", "check"):
            line += ["--socket", str(self.control)]
        return subprocess.run(line, capture_output=True, text=True, timeout=seconds, check=False)

    def reload(self) -> subprocess.CompletedProcess:
        return self.command("reload")

    def kill(self) -> None:
        self.process.kill()

    def stop(self, by: signal.Signals | None = None, seconds: float = 15) -> None:
        """Ends it in order, and fails if it was not a clean end."""
        if by is None:
            done = self.command("stop")
            assert done.returncode == 0, f"sluice stop: {done.returncode} {done.stdout}{done.stderr}"
        else:
            self.process.send(by)
        code = self.process.wait(seconds)
        assert code == 0, f"the node ended with {code}:\n{self.tail()}"
        self.assert_no_complaint()

    def assert_no_complaint(self) -> None:
        """Fails if a sanitizer or an assertion of the node spoke."""
        output = self.process.output()
        found = re.search(r"(ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|check failed).*", output)
        assert not found, f"the node complained: {found[0]}\n{self.tail()}"

    def tail(self, lines: int = 40) -> str:
        """What it said last, for people."""
        if self.process is None:
            return "(the node was not started)"
        return "\n".join(self.process.output().splitlines()[-lines:])


def configuration(*, engine: str = "auto", private_key_file: Path, certificate: tuple[Path, Path],
                  hosts: list[str]) -> dict[str, Any]:
    """A configuration that all system tests begin with: one listener for both families, one
    certificate, no peers, no routes."""
    return {
        "node": {"name": "node-21", "ip": Topology.NODE, "state_dir": private_key_file.parent, "workers": 2},
        "io": {"engine": engine},
        "wireguard": {
            "interface": f"sl{cleanup.unique()}",
            "private_key_file": private_key_file,
            "addresses": [f"{Topology.NODE_INNER}/24", f"{Topology.NODE_INNER6}/64"],
            "peers": [],
        },
        "listeners": [{"name": "any4", "address": "0.0.0.0:3443"}, {"name": "any6", "address": "[::]:3443"}],
        "certificates": [{"hosts": hosts, "cert_file": certificate[0], "key_file": certificate[1]}],
        "routes": [],
        "backends": [],
    }
