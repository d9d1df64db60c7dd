"""Where a program's time goes, as perf(1) samples it: user and kernel, all threads."""

import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Callable

# SHARE% SAMPLES OBJECT [k or .] SYMBOL, and two columns for counters that a sampling clock has not.
_ROW = re.compile(r"\s*(\d+\.\d+)%\s+(\d+)\s+(\S+)\s+\[[^]]*\]\s+(.*?)(?:\s+-\s+-)?\s*$")
# SHARE-WITH-CALLED% SHARE% [k or .] SYMBOL
_INCLUSIVE_ROW = re.compile(r"\s*(\d+\.\d+)%\s+\d+\.\d+%\s+\[[^]]*\]\s+(.*?)(?:\s+-\s+-)?\s*$")
# How the kernel's functions behind system calls are called; the compiler leaves out some.
_SYSTEM_CALL = re.compile(r"(?:__x64_sys_|__do_sys_|ksys_|__sys_|do_)(read|write|readv|writev|sendmsg|sendmmsg|sendto|recvmsg|"
                          r"recvmmsg|recvfrom|epoll_wait|epoll_pwait|poll|ppoll|futex|io_uring_enter|nanosleep)")

# Not a divisor of anything that happens regularly on a kernel.
_FREQUENCY = 997


def of_process(pid: int, run: Callable[[], object], lines: int = 20) -> list[str]:
    """While `run` ran, in shares of all time: by object, by system call, by function; or why there is none."""
    if shutil.which("perf") is None:
        return ["there is no perf in the path (package linux-perf)"]
    with tempfile.TemporaryDirectory(prefix="sluice-perf-") as folder:
        data = Path(folder) / "data"
        # cpu-clock needs no counters of the processor, which guests often do not get.
        perf = subprocess.Popen(["perf", "record", "--event", "cpu-clock", "--freq", str(_FREQUENCY), "-g",
                                 "--pid", str(pid), "--output", str(data)], stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, start_new_session=True)
        try:
            run()
        finally:
            perf.send_signal(signal.SIGINT)
            _, words = perf.communicate(timeout=60)
        if not data.exists():
            return [f"perf record: {words.decode(errors='replace').strip()[-300:]}"]
        own = _report(data, _ROW, ["--no-children", "--sort", "dso,symbol", "--show-nr-samples"])
        inclusive = _report(data, _INCLUSIVE_ROW, ["--children", "--sort", "symbol"])
    if not own:
        return ["perf report has nothing to say"]
    rows = [(float(row[1]), int(row[2]), row[3], row[4]) for row in own]
    return [f"{sum(row[1] for row in rows)} samples: {_by_object(rows)}",
            f"system calls, with all that the kernel does in them: {_by_system_call(inclusive)}",
            *(f"{share:5.1f} %  {place}  {symbol}" for share, _, place, symbol in rows[:lines] if share >= 1)]


def _report(data: Path, row: re.Pattern, options: list[str]) -> list[re.Match]:
    said = subprocess.run(["perf", "report", "--input", str(data), "--stdio", "-g", "none", *options],
                          capture_output=True, text=True, check=False)
    return [found for found in map(row.match, said.stdout.splitlines()) if found]


def _by_object(rows: list[tuple[float, int, str, str]]) -> str:
    objects: dict[str, float] = {}
    for share, _, place, _ in rows:
        objects[place] = objects.get(place, 0) + share
    return _listed(objects)


def _by_system_call(rows: list[re.Match]) -> str:
    calls: dict[str, float] = {}
    for row in rows:
        if found := _SYSTEM_CALL.fullmatch(row[2]):
            calls[found[1]] = max(calls.get(found[1], 0), float(row[1]))
    return _listed(calls)


def _listed(shares: dict[str, float]) -> str:
    return ", ".join(f"{name} {share:.0f} %" for name, share in sorted(shares.items(), key=lambda one: -one[1])
                     if share >= 0.5)
