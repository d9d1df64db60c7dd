"""What a WireGuard program is put through: bulk, packets one by one, round trips, handshakes, memory.

"In" is towards the measured program's own TUN device: it decrypts. "Out" is the other way: it encrypts.
"""

import base64
import contextlib
import json
import time
from dataclasses import dataclass
from typing import Callable, Iterator

from harness import cleanup
from harness.waiting import until

from . import cpu, tunnels
from .tunnels import CLIENT_INNER, NODE_INNER, Program, Stage, Tunnel

_IPERF_PORT = 5201
# The same everywhere, whatever the machine prefers: with pacing (bbr) the timer would be measured, too.
_CONGESTION = "cubic"

# Packets on their way at a time: just below what a TUN device holds (500), so that none is lost there,
# and more than any of the programs takes at a time.
_WINDOW = 384

# Initiations on their way at a time. Enough to keep every thread busy; below what makes wireguard-go
# believe that it is attacked (128 in its queue).
_HANDSHAKES_AT_A_TIME = 64

_SEED = 1


@dataclass(frozen=True)
class Sizes:
    """How long and how much; a smoke run takes less."""

    tcp_s: float
    udp_s: float
    latency_s: float
    handshakes_s: float
    peers: int


FULL = Sizes(tcp_s=2.0, udp_s=1.5, latency_s=1.5, handshakes_s=4.0, peers=10_000)
QUICK = Sizes(tcp_s=1.0, udp_s=0.5, latency_s=0.5, handshakes_s=2.0, peers=1_000)

TCP = {f"tcp {streams} {direction}": (streams, direction) for streams in (1, 32) for direction in ("in", "out")}
UDP = {f"udp {size} {direction}": (size, direction) for size in (64, 512, 1400) for direction in ("in", "out")}
LATENCY, HANDSHAKES, MEMORY = "latency", "handshakes", "memory"


class Bench:
    """A program on the stage, with the client's program at the other end, and a session between them."""

    def __init__(self, stage: Stage, program: Program, client: Program, sizes: Sizes):
        self.stage, self.sizes = stage, sizes
        self.node = stage.node_tunnel(program)
        self.node.configure(stage.client_as_peer())
        self.client = stage.client_tunnel(client)
        self._iperf = stage.node.start(["iperf3", "-s", "--forceflush", "-B", NODE_INNER, "-p", str(_IPERF_PORT)],
                                       stage.folder / f"iperf-{cleanup.unique()}.log")
        self._tcp_tests = 0
        self._await_iperf()
        until(lambda: self._round_trips(0.02)["round_trips"], "a packet goes through the tunnel and back", 20)
        self.idle_bytes = self.node.process.resident_bytes()

    def stop(self) -> None:
        self._iperf.end()
        self.client.stop()
        self.node.stop()

    def _await_iperf(self) -> None:
        """It says so before its first test and again after each; before that it would refuse the next as busy."""
        until(lambda: self._iperf.output().count("Server listening") > self._tcp_tests, "iperf3 listens", 30)

    def tcp(self, streams: int, direction: str) -> dict:
        command = ["iperf3", "-c", NODE_INNER, "-p", str(_IPERF_PORT), "-t", f"{self.sizes.tcp_s:g}", "-P",
                   str(streams), "-J", "-C", _CONGESTION, *(["-R"] if direction == "out" else [])]
        self._await_iperf()
        self._tcp_tests += 1
        said, spent = self._measured(lambda: json.loads(
            self.stage.client.run(*command, seconds=self.sizes.tcp_s + 30)))
        if "sum_received" not in said["end"]:
            raise AssertionError(f"iperf3: {said.get('error', 'no result')}")
        sent, received = said["end"]["sum_sent"], said["end"]["sum_received"]
        return _per_gb(spent, received["bytes"]) | {
            "gbit_per_s": received["bits_per_second"] / 1e9,
            "retransmits": sent.get("retransmits", 0),
        }

    def udp(self, size: int, direction: str) -> dict:
        said, spent = self._measured(lambda: self.stage.generate(
            "flood", *self._ends(direction), "--size", size, "--milliseconds", round(1000 * self.sizes.udp_s),
            "--window", _WINDOW))
        received = max(said["received"], 1)
        return _per_gb(spent, received * size) | {
            "packets_per_s": received / said["seconds"],
            "gbit_per_s": 8e-9 * size * received / said["seconds"],
            "lost_share": 1 - said["received"] / said["sent"],
            "stalls": said["stalls"],
            "cpu_us_per_packet": 1e6 * spent["cpu_s"] / received,
        }

    def latency(self) -> dict:
        said, spent = self._measured(lambda: self._round_trips(self.sizes.latency_s))
        return spent | said | {"cpu_us_per_round_trip": 1e6 * spent["cpu_s"] / max(said["round_trips"], 1)}

    def _round_trips(self, seconds: float) -> dict:
        return self.stage.generate("round-trips", *self._ends("in"), "--milliseconds", round(1000 * seconds))

    def _ends(self, direction: str) -> list[str]:
        ends = [(self.stage.client.name, CLIENT_INNER), (self.stage.node.name, NODE_INNER)]
        (one, from_address), (other, to_address) = ends if direction == "in" else reversed(ends)
        return ["--from-namespace", one, "--from", from_address, "--to-namespace", other, "--to", to_address]

    def _measured(self, run: Callable[[], dict]) -> tuple[dict, dict]:
        return measured(run, self.node.pid, self.client.pid)


def measured(run: Callable[[], dict], pid: int, client_pid: int | None = None) -> tuple[dict, dict]:
    """What it says, and the processor time that went by."""
    before = _clocks(pid, client_pid)
    said = run()
    after = _clocks(pid, client_pid)
    return said, {key: after[key] - value for key, value in before.items()}


def _clocks(pid: int, client_pid: int | None) -> dict[str, float]:
    split, whole = cpu.of_process(pid), cpu.of_machine()
    return {"cpu_s": cpu.exact_total(pid), "user_s": split.user, "system_s": split.system,
            "client_cpu_s": cpu.exact_total(client_pid) if client_pid else 0.0,
            "machine_s": whole.busy, "steal_s": whole.steal, "elapsed_s": time.monotonic()}


def _per_gb(spent: dict, size: int) -> dict:
    gigabytes = max(size, 1) / 1e9
    return spent | {"bytes": size, "cpu_s_per_gb": spent["cpu_s"] / gigabytes,
                    "user_s_per_gb": spent["user_s"] / gigabytes, "system_s_per_gb": spent["system_s"] / gigabytes,
                    "client_s_per_gb": spent["client_cpu_s"] / gigabytes,
                    "machine_s_per_gb": spent["machine_s"] / gigabytes}


def run_bulk(stage: Stage, program: Program, client: Program, sizes: Sizes,
             wanted: Callable[[str], bool]) -> Iterator[tuple[str, dict]]:
    """Everything that one session with one client is enough for."""
    bench = Bench(stage, program, client, sizes)
    try:
        for name, (streams, direction) in TCP.items():
            if wanted(name):
                yield name, bench.tcp(streams, direction)
        for name, (size, direction) in UDP.items():
            if wanted(name):
                yield name, bench.udp(size, direction)
        if wanted(LATENCY):
            yield LATENCY, bench.latency()
        if wanted(MEMORY):
            yield MEMORY, {"idle_bytes": bench.idle_bytes, "loaded_bytes": bench.node.process.resident_bytes()}
    except AssertionError as error:
        raise AssertionError(f"{error}\n{bench.node.words()}") from None
    finally:
        bench.stop()


def run_many(stage: Stage, program: Program, sizes: Sizes, peers: str) -> dict:
    """All devices of a large network at once: memory before and after, and how fast they are answered."""
    node = stage.node_tunnel(program)
    with contextlib.ExitStack() as stack:
        stack.callback(node.stop)
        start = time.monotonic()
        node.configure(peers)
        configured_s = time.monotonic() - start
        configured_bytes = node.process.resident_bytes()
        said, spent = measured(lambda: stage.generate(
            "handshakes", "--namespace", stage.client.name, "--first-source", tunnels.FIRST_SOURCE,
            "--own-port", tunnels.MANY_PORT, "--to", tunnels.NODE, "--port", tunnels.PORT, "--public-key", _hex(node), "--seed", _SEED,
            "--count", sizes.peers, "--window", _HANDSHAKES_AT_A_TIME,
            "--milliseconds", round(1000 * sizes.handshakes_s)), node.pid)
        return spent | said | {
            "peers": sizes.peers,
            "configured_s": configured_s,
            "configured_bytes": configured_bytes,
            "connected_bytes": node.process.resident_bytes(),
            "handshakes_per_s": said["answered"] / said["seconds"],
            "cpu_ms_per_handshake": 1e3 * spent["cpu_s"] / max(said["answered"], 1),
        }


def peers_of(stage: Stage, sizes: Sizes) -> str:
    return stage.many_peers(_SEED, sizes.peers)


def _hex(tunnel: Tunnel) -> str:
    return base64.b64decode(tunnel.keys.public).hex()
