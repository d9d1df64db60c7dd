"""Shows the main job on this machine: a phone with a stock WireGuard client reaches a page through tunnel,
TLS and route; a neighbour does not, not even with the phone's address. scripts/start calls it.

Everything runs in network namespaces of its own. What should last (keys, certificates, configuration)
lies in the state folder, is made if it is not there, and may be edited.
"""

import argparse
import fcntl
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from harness import cleanup, network, pki, web
from harness.network import Topology
from harness.node import Node, binary, toml
from harness.wireguard import KeyPair, Peer, WireguardClient

WELCOME, PUBLIC = "welcome.sluice.test", "public.sluice.test"
PORT = 3443


class ProofFailed(Exception):
    pass


def tell(label: str, text: str) -> None:
    print(f"{label:<10} {text}", flush=True)


class State:
    """What outlives a run: keys, certificates and the configuration."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._lock = (folder / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"start: another one is running with {folder}; give this one a folder of its own: "
                     "--state FOLDER")
        self.config = folder / "sluice.toml"
        self.control = folder / "control.sock"
        if len(os.fsencode(self.control)) > 107:
            sys.exit(f"start: {folder} is too long a path for a socket in it; choose another: --state FOLDER")
        self.is_new = not self.config.exists()
        self.authority = pki.Authority(folder, "Sluice first-run CA")
        certificate = folder / "server.crt"
        if not certificate.exists() or pki.expires_within(certificate, 24 * 3600):
            self.authority.issue("server", [WELCOME, PUBLIC])
        self.node_keys = self._keys("wireguard.key")
        self.phone_keys = self._keys("phone.key")
        if self.is_new:
            self.config.write_text(self._configuration())

    def _keys(self, name: str) -> KeyPair:
        path = self.folder / name
        if path.exists():
            return KeyPair.of(path.read_text().strip())
        keys = KeyPair.make()
        path.touch(mode=0o600)
        path.write_text(keys.private + "\n")
        return keys

    def _configuration(self) -> str:
        return "# Made by scripts/start; edit it, then: sluice reload. conf/default.toml explains every key.\n\n" + toml({
            "node": {"name": "node-21", "ip": Topology.NODE, "state_dir": self.folder},
            "wireguard": {
                # Not sluice0, so that it is in nobody's way on a machine that runs Sluice already.
                "interface": f"demo-{secrets.token_hex(2)}",
                "private_key_file": self.folder / "wireguard.key",
                "addresses": [f"{Topology.NODE_INNER}/24", f"{Topology.NODE_INNER6}/64"],
                "peers": [{
                    "name": "phone",
                    "public_key": self.phone_keys.public,
                    "allowed_ips": [f"{Topology.CLIENT_INNER}/32", f"{Topology.CLIENT_INNER6}/128"],
                }],
            },
            "listeners": [{"name": "secure", "address": f"0.0.0.0:{PORT}"}],
            "certificates": [{"hosts": [WELCOME, PUBLIC], "cert_file": self.folder / "server.crt",
                              "key_file": self.folder / "server.key"}],
            "routes": [
                {"name": "welcome", "hosts": [WELCOME], "auth": "tailscale-only", "backend": "welcome"},
                {"name": "public", "hosts": [PUBLIC], "auth": "public", "backend": "welcome"},
            ],
            "backends": [{"name": "welcome", "servers": [{"url": "builtin:welcome"}]}],
            "control": {"socket": self.control},
        })


class DemoNode(Node):
    """The node, with the files of the state folder instead of a test's."""

    def __init__(self, namespace: network.Namespace, state: State):
        super().__init__(namespace, state.folder, {})
        self.config, self.control = state.config, state.control
        self.log = state.folder / "sluice.log"
        self.log.write_text("")

    def write(self, text: str | None = None) -> None:
        pass  # it belongs to the user


class Demo:
    def __init__(self, state: State):
        self.state = state
        self.topology = Topology()
        tell("network", f"node {Topology.NODE}, phone {Topology.CLIENT}, neighbour {Topology.NEIGHBOUR}: "
                        "a namespace each")
        self.node = DemoNode(self.topology.node, state).start()
        status = self.node.status()
        tell("node", f"runs: UDP {Topology.WIREGUARD_PORT} (41600 + 21), TLS {PORT}, engine {status['engine']}")
        scratch = tempfile.TemporaryDirectory(prefix="sluice-demo-")
        cleanup.later(scratch.cleanup)
        self.phone = WireguardClient(self.topology.client, Path(scratch.name), state.phone_keys)
        self.phone.up(Peer(state.node_keys.public, [f"{Topology.NODE_INNER}/32", f"{Topology.NODE_INNER6}/128"],
                           endpoint=f"{Topology.NODE}:{Topology.WIREGUARD_PORT}"))
        tell("phone", f"runs: wireguard-go, {Topology.CLIENT_INNER} inside the tunnel")

    def prove(self) -> None:
        """The three answers; ProofFailed at the first that is not as promised."""
        print()
        inside = self._site(self.topology.client, Topology.NODE_INNER)
        outside = self._site(self.topology.neighbour, Topology.NODE)

        answer = inside.fetch(WELCOME)
        self._show(1, "the phone, through the tunnel", WELCOME, answer, 200,
                   "WireGuard, TLS with the local CA, and a tailscale-only route work for a stock client")
        if not self.phone.handshake_time():
            raise ProofFailed("the phone was answered without a WireGuard handshake")

        answer = outside.fetch(WELCOME)
        self._show(2, "the neighbour, outside the tunnel", WELCOME, answer, 403,
                   "it reaches the node, and is refused because it did not come through the tunnel")
        public = outside.fetch(PUBLIC)
        if public.status != 200:
            raise ProofFailed(f"the neighbour should have the public route, but got {public}")

        forged = self._forge(outside)
        self._show(3, f"the neighbour, sending as {Topology.CLIENT_INNER}", WELCOME, forged, 403,
                   "the phone's address alone opens nothing: the accepting socket decides")

    def _forge(self, outside: web.Site) -> web.Answer:
        """The neighbour takes the phone's inner address, and the node is even told to answer there."""
        inner = f"{Topology.CLIENT_INNER}/32"
        network.add_address(self.topology.neighbour, "lan0", inner)
        unsteer = network.steer(self.topology.node, inner, Topology.NEIGHBOUR, "lan0")
        try:
            return outside.fetch(WELCOME, options=["--interface", Topology.CLIENT_INNER])
        finally:
            unsteer()
            self.topology.neighbour.ip("address", "delete", inner, "dev", "lan0")

    def _site(self, namespace: network.Namespace, address: str) -> web.Site:
        return web.Site(namespace, address, PORT, self.state.authority)

    @staticmethod
    def _show(number: int, who: str, host: str, answer: web.Answer, wanted: int, proves: str) -> None:
        print(f"{number}  {who}")
        print(f"   GET https://{host}:{PORT}/  →  {answer.status or 'no answer'}"
              f"   {first_line(answer)}".rstrip())
        if answer.status != wanted:
            raise ProofFailed(f"expected {wanted}, but it was {answer}")
        print(f"   proves: {proves}\n", flush=True)

    def what_next(self) -> str:
        def inside(namespace: network.Namespace, *words: str) -> str:
            return f"    ip netns exec {namespace.name} " + " ".join(words)

        def curl(host: str, address: str) -> str:
            return (f"curl --cacert {show(self.state.authority.certificate)} "
                    f"--resolve {host}:{PORT}:{address} https://{host}:{PORT}/")

        sluice, socket = show(binary()), f"--socket {show(self.state.control)}"
        config = show(self.state.config)
        return "\n".join([
            "The node runs on. In another terminal, as root and in this folder:",
            "",
            "  the page, as the phone and as the neighbour",
            inside(self.topology.client, curl(WELCOME, Topology.NODE_INNER)),
            inside(self.topology.neighbour, curl(WELCOME, Topology.NODE)),
            inside(self.topology.neighbour, curl(PUBLIC, Topology.NODE)),
            "",
            "  the node about itself, and WireGuard as the phone sees it",
            f"    {sluice} status {socket}",
            f"    {sluice} peers {socket}",
            inside(self.topology.client, f"wg show {self.phone.interface}"),
            "",
            f"  another route or peer: edit {config}, then",
            f"    {sluice} check --config {config}",
            f"    {sluice} reload {socket}",
            "    a peer is a [[wireguard.peers]] with a name, a public_key (wg genkey | wg pubkey) and",
            "    allowed_ips = [\"10.98.0.3/32\"]",
            "",
            f"Log: {show(self.node.log)}.  Ctrl-C ends the node and removes the namespaces.",
        ])

    def stay(self) -> int:
        """Shows what the node logs until it ends or a signal comes."""
        asked = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: asked.set())
        with self.node.log.open(errors="replace") as log:
            log.seek(0, os.SEEK_END)
            while not asked.wait(0.2):
                sys.stdout.write(log.read())
                sys.stdout.flush()
                if self.node.process.exit_code() is not None:
                    break
            sys.stdout.write(log.read())
        code = self.node.process.exit_code()
        if code:
            print(f"start: the node ended by itself, exit code {code}", file=sys.stderr)
        elif code is None:
            self.node.stop()
            print("\nended, and cleaned up")
        return 1 if code else 0


def show(path: Path) -> str:
    """As short as it can be typed from the current folder."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def first_line(answer: web.Answer) -> str:
    """The answer in a few words: a page's title, else its first line, without the status once more."""
    text = answer.body.decode(errors="replace")
    title = text.partition("<title>")[2].partition("</title>")[0]
    return (title or text.strip().partition("\n")[0]).removeprefix(f"{answer.status} ")[:80]


def main() -> int:
    parser = argparse.ArgumentParser(prog="start")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--once", action="store_true")
    arguments = parser.parse_args()
    cleanup.on_signals()
    try:
        state = State(arguments.state.resolve())
        tell("state", f"{show(state.folder)}: key, CA, certificate, peer \"phone\""
                      + (", made now" if state.is_new else ", as they were"))
        started = time.monotonic()
        demo = Demo(state)
        try:
            demo.prove()
        except ProofFailed as error:
            print(f"\nstart: {error}\n\nthe node's last words ({show(demo.node.log)}):\n{demo.node.tail(15)}\n\n"
                  f"If {show(state.config)} was edited: remove {show(state.folder)} and try again.", file=sys.stderr)
            return 1
        print(f"The node does its job ({time.monotonic() - started:.1f} s).")
        if arguments.once:
            demo.node.stop()
            return 0
        print("\n" + demo.what_next() + "\n", flush=True)
        return demo.stay()
    except KeyboardInterrupt:
        return 130
    except (AssertionError, OSError) as error:
        print(f"start: {error}", file=sys.stderr)
        return 1
    finally:
        cleanup.undo_to(0)


if __name__ == "__main__":
    sys.exit(main())
