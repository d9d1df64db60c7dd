"""The facts without which a number says nothing: processor, kernel, versions, and the commit."""

import os
import platform
import re
import subprocess
import time
from pathlib import Path
from typing import Any, Sequence

from . import cpu

TREE = Path(__file__).resolve().parents[2]

# When others keep the machine busier than this before a measurement begins, they are heard in its figures.
QUIET = 0.10


def facts() -> dict[str, Any]:
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release().partition("-")[0],  # what follows names whoever built it
        "system": _os_release(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "not shown",
        "hypervisor": "yes" if " hypervisor" in _read("/proc/cpuinfo") else "no",
        "congestion": _read("/proc/sys/net/ipv4/tcp_congestion_control"),
        "load_before": round(os.getloadavg()[0], 2),
        "busy_before": round(busy_share(), 3),
        "commit": commit(),
    }


def processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    return found[1] if found else platform.machine()


def busy_share(seconds: float = 1.0) -> float:
    """What others do on this machine: the busy part of all cores, 0 to 1, while we do nothing."""
    before = cpu.of_machine()
    time.sleep(seconds)
    return (cpu.of_machine() - before).busy / seconds / (os.cpu_count() or 1)


def commit() -> str:
    """The commit, with a "+" if the sources are not what was committed."""
    name = output(["git", "-C", str(TREE), "rev-parse", "--short=12", "HEAD"])
    changed = output(["git", "-C", str(TREE), "status", "--porcelain", "--", "dataplane", "control", "CMakeLists.txt"])
    return (name or "unknown") + ("+" if changed else "")


def version_of(command: Sequence[str]) -> str:
    """The first line that mentions a number, of what a program says about itself, up to a bracket."""
    for line in output(command).splitlines():
        if any(letter.isdigit() for letter in line):
            return line.partition(" (")[0].strip()
    return "unknown"


def output(command: Sequence[str]) -> str:
    """What a program prints on either stream; empty if it cannot be run."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20,
                              check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _os_release() -> str:
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)', _read("/etc/os-release"), re.MULTILINE)
    return found[1] if found else platform.system()
