"""What the kernel's WireGuard says about us. Its words for every message it refuses come by dynamic debugging."""

import functools
import os
import re
from pathlib import Path

from harness.waiting import until

# The sentences of drivers/net/wireguard (Linux 6.1) about something that another end should not have done, or that
# did not arrive.
_COMPLAINT = re.compile(
    r"Invalid |unallowed src IP|neither ipv4 nor ipv6|incorrect size|invalid nonce|Could not decrypt|Dropping|"
    r"mangled|did not complete|stopped hearing back|WARNING|BUG:|Call Trace")


@functools.cache
def switch_on() -> None:
    """Makes it speak."""
    # Not more than ten lines in five seconds, otherwise.
    Path("/proc/sys/net/core/message_cost").write_text("0")
    Path("/sys/kernel/debug/dynamic_debug/control").write_text("module wireguard +p")


class KernelLog:
    """What it says from now on."""

    def __init__(self) -> None:
        self._file = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._file, 0, os.SEEK_END)
        self._lines: list[str] = []

    def close(self) -> None:
        os.close(self._file)

    def lines(self, containing: str = "") -> list[str]:
        while True:
            try:
                record = os.read(self._file, 8192).decode(errors="replace")
            except BlockingIOError:
                break
            except BrokenPipeError:
                self._lines.append("(the kernel said more than its buffer holds)")
                continue
            about, _, text = record.partition(";")
            self._lines.append(f"{int(about.split(',')[2]) / 1e6:.3f} {text.splitlines()[0]}")
        return [line for line in self._lines if containing in line]

    def complaints(self) -> list[str]:
        self.lines()
        return [line for line in self._lines if _COMPLAINT.search(line)]

    def await_line(self, containing: str, seconds: float) -> None:
        until(lambda: self.lines(containing), f"the kernel says {containing!r}", seconds)
