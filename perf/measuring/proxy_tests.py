"""What a TLS proxy is put through, and what that costs it."""

import hashlib
import json
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from harness.waiting import until

from . import cpu, proxies
from .proxies import HOST, PORT, Proxy, Stage

DOWNLOADS, DOWNLOADS_H2 = "download", "download h2"
SMALL_H1, SMALL_H2 = "requests h1", "requests h2"
FULL13, RESUMED13, FULL12 = "handshakes 1.3", "resumed 1.3", "handshakes 1.2"
LATENCY = "latency"
MEMORY = "memory"
ALL = (DOWNLOADS, DOWNLOADS_H2, SMALL_H1, SMALL_H2, FULL13, RESUMED13, FULL12, LATENCY, MEMORY)


@dataclass(frozen=True)
class Sizes:
    downloads: int         # of the large file, one after the other
    milliseconds: int      # of everything that goes on for a while
    connections: int       # for small requests over HTTP/1.1 and for handshakes
    h2_connections: int
    h2_streams: int
    idle_connections: int


QUICK = Sizes(2, 500, 16, 2, 8, 500)


def full() -> Sizes:
    return Sizes(8, 4000, 64, 8, 16, min(10_000, proxies.connections_max()))


class Bench:
    """A proxy that runs, and the tests of it."""

    def __init__(self, stage: Stage, proxy: Proxy, sizes: Sizes):
        self.stage, self.proxy, self.sizes = stage, proxy, sizes
        proxy.start()
        until(self._is_up, f"{proxy.name} listens: {proxy.words()}")
        self._warm_up()

    def stop(self) -> None:
        self.proxy.stop()

    def _is_up(self) -> bool:
        return self.stage.listens(PORT)

    def run(self, test: str, rate: int) -> dict:
        """`rate`: for the latency test, requests a second."""
        tests = {
            DOWNLOADS: lambda: self.download("--http1.1"),
            DOWNLOADS_H2: lambda: self.download("--http2"),
            SMALL_H1: lambda: self.requests(0),
            SMALL_H2: self.requests_h2,
            FULL13: lambda: self.handshakes("1.3", False),
            RESUMED13: lambda: self.handshakes("1.3", True),
            FULL12: lambda: self.handshakes("1.2", False),
            LATENCY: lambda: self.requests(rate),
            MEMORY: self.memory,
        }
        return tests[test]()

    def _curl(self, *arguments: str) -> list[str]:
        return ["taskset", "-c", str(proxies.LOAD_CORE), "curl", "--silent", "--show-error", "--fail",
                "--cacert", str(self.stage.authority.certificate), "--tls13-ciphers", proxies.CIPHER,
                "--curves", "X25519", "--resolve", f"{HOST}:{PORT}:127.0.0.1", *arguments]

    def _url(self, path: str) -> str:
        return f"https://{HOST}:{PORT}{path}"

    def _warm_up(self) -> None:
        """What is fetched is what is there, over both protocols."""
        for version in ("--http1.1", "--http2"):
            target = self.stage.folder / "received"
            self.stage.namespace.run(*self._curl(version, "--output", str(target), self._url(proxies.LARGE)))
            with target.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != self.stage.large.sha256():
                    raise AssertionError(f"{self.proxy.name}: what arrived over {version} is not what was sent")
            target.unlink()

    def _spent(self) -> float:
        return sum(map(cpu.exact_total, self.proxy.pids()))

    def _measured(self, command: list[str], seconds: float = 120) -> tuple[str, dict]:
        before, machine_before, start = self._spent(), cpu.of_machine(), time.monotonic()
        output = self.stage.namespace.run(*command, seconds=seconds)
        elapsed = time.monotonic() - start
        machine = cpu.of_machine() - machine_before
        return output, {"seconds": elapsed, "cpu_s": self._spent() - before, "machine_s": machine.busy,
                        "steal_s": machine.steal}

    def _load(self, command: str, **options) -> list[str]:
        words = ["taskset", "-c", str(proxies.LOAD_CORE), str(self.stage.load), command]
        options = {"to": "127.0.0.1", "port": PORT, "host": HOST, "path": proxies.SMALL, "tls": "1.3"} | options
        for name, value in options.items():
            words += [f"--{name}", str(value)]
        return words

    def download(self, version: str) -> dict:
        count = self.sizes.downloads
        _, spent = self._measured(self._curl(version, *["--output", "/dev/null", self._url(proxies.LARGE)] * count))
        gigabytes = count * self.stage.large.size / 1e9
        return spent | {"cpu_s_per_gb": spent["cpu_s"] / gigabytes, "machine_s_per_gb": spent["machine_s"] / gigabytes,
                        "gbit_per_s": 8 * gigabytes / spent["seconds"]}

    def requests(self, rate: int) -> dict:
        output, spent = self._measured(self._load("requests", connections=self.sizes.connections,
                                                  milliseconds=self.sizes.milliseconds, rate=rate))
        return self._per_unit(json.loads(output), spent) | {"asked_rate": rate}

    def handshakes(self, version: str, resume: bool) -> dict:
        output, spent = self._measured(self._load("handshakes", connections=self.sizes.connections, tls=version,
                                                  milliseconds=self.sizes.milliseconds, resume=int(resume)))
        return self._per_unit(json.loads(output), spent)

    def requests_h2(self) -> dict:
        duration = max(1, self.sizes.milliseconds // 1000)
        output, spent = self._measured([
            "taskset", "-c", str(proxies.LOAD_CORE), "h2load", "--threads", "1", "--clients",
            str(self.sizes.h2_connections), "--max-concurrent-streams", str(self.sizes.h2_streams), "--duration",
            str(duration), "--connect-to", f"127.0.0.1:{PORT}", self._url(proxies.SMALL)])
        found = re.search(r"requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored",
                          output)
        if not found or int(found[2]) or int(found[3]) or not int(found[1]):
            raise AssertionError(f"h2load: {output[-600:]}")
        return self._per_unit({"requests": int(found[1]), "seconds": float(duration)}, spent)

    @staticmethod
    def _per_unit(said: dict, spent: dict) -> dict:
        """`requests` are units of work: small requests, or connections with one request each."""
        count = said["requests"]
        return spent | said | {
            "rate": count / said["seconds"],
            "core_rate": count / spent["cpu_s"],  # of a core that does nothing else
            "cpu_us": spent["cpu_s"] / count * 1e6,
            "core_share": spent["cpu_s"] / said["seconds"],
        }

    def memory(self) -> dict:
        """Resident memory with many idle TLS connections, each of which has served a request."""
        count = self.sizes.idle_connections
        before = self._resident()
        load = self.stage.namespace.popen(self._load("idle", connections=count), stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE, text=True)
        try:
            line = load.stdout.readline()
            if not line:
                raise AssertionError(f"not all of {count} connections could be opened")
            after = self._resident()
        finally:
            load.stdin.close()
            load.wait(30)
            load.stdout.close()
        return {"idle_bytes": before, "held_bytes": after, "connections": count,
                "bytes_per_connection": (after - before) / count}

    def _resident(self) -> int:
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.proxy.pids())
        return pages * 4096
