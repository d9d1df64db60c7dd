"""The guest: QEMU without hardware help, so that it runs wherever the tests run.

Its first serial port is the kernel's console and goes to a file. On the second the tests inside speak to us, one
JSON object a line:

    {"event": "fact", "name": N, "value": V}      something to be told, like the kernel's release
    {"event": "begin", "test": T}
    {"event": "end", "test": T, "verdict": "passed" | "failed" | "skipped", "seconds": S, "text": why}
    {"event": "done"}
"""

import json
import os
import selectors
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

from .kernel import Kernel, Unavailable

QEMU = "qemu-system-x86_64"
# Python, its libraries and two Sluice processes fill less than half of it.
_MEMORY_MIB = 1024


class Hung(Exception):
    """The guest did not come to its end."""


@dataclass(frozen=True)
class Machine:
    kernel: Kernel
    initial: Path    # its file system
    directory: Path  # for its console

    @property
    def console(self) -> Path:
        return self.directory / "console.log"

    def run(self, environment: dict[str, str], seconds: float) -> Iterator[dict[str, Any]]:
        """Boots it and yields what the tests inside say; raises Hung if it takes longer, or ends before they do."""
        if shutil.which(QEMU) is None:
            raise Unavailable(f"{QEMU} is not here (package qemu-system-x86)")
        deadline = time.monotonic() + seconds
        guest = subprocess.Popen(self._command(environment), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=(self.directory / "qemu.log").open("wb"),
                                 start_new_session=True, preexec_fn=_die_with_us)
        try:
            for line in _lines(guest, deadline):
                try:
                    event = json.loads(line)
                except ValueError:
                    raise Hung(f"the guest said {line[:200]!r}, which is no line of its protocol") from None
                yield event
                if event["event"] == "done":
                    return
            if time.monotonic() >= deadline:
                raise Hung(f"the guest was not done after {seconds:g} s")
            raise Hung(f"the guest ended before its tests did; QEMU said: {self.qemu_said() or 'nothing'}")
        finally:
            guest.kill()
            guest.wait()
            guest.stdout.close()

    def console_tail(self, lines: int = 40) -> str:
        """What its kernel said last."""
        if not self.console.exists():
            return "(nothing)"
        return "\n".join(self.console.read_text(errors="replace").splitlines()[-lines:])

    def qemu_said(self) -> str:
        return (self.directory / "qemu.log").read_text(errors="replace").strip()

    def _command(self, environment: dict[str, str]) -> list[str]:
        # What the kernel does not know itself it hands to the first program, in its environment. The log needs room
        # for what the tests make its WireGuard say. It must not wait for entropy, which comes slowly without hardware.
        line = ["console=ttyS0,115200", "loglevel=5", "panic=-1", "random.trust_cpu=on", "log_buf_len=4M",
                "rdinit=/init", *(f"{name}={value}" for name, value in environment.items())]
        return [QEMU, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(_MEMORY_MIB),
                "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-kernel", str(self.kernel.image), "-initrd", str(self.initial), "-append", " ".join(line),
                "-chardev", f"file,id=console,path={self.console}", "-serial", "chardev:console",
                "-chardev", "stdio,id=tests,signal=off", "-serial", "chardev:tests"]


def _die_with_us() -> None:
    """A guest whose test was killed would go on for minutes."""
    import ctypes
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _lines(guest: subprocess.Popen, deadline: float) -> Iterator[str]:
    """What it writes, line by line, until it ends or time is up."""
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(guest.stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not selector.select(left):
                continue
            some = os.read(guest.stdout.fileno(), 65536)
            if not some:
                return
            *lines, pending = (pending + some).split(b"\n")
            for line in lines:
                if text := line.decode(errors="replace").strip():
                    yield text
