"""Where a program's time goes, by function, as perf(1) samples it: user and kernel, all threads."""

import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Callable

# Not a divisor of anything that happens regularly on a kernel.
_FREQUENCY = 997


def of_process(pid: int, run: Callable[[], object], lines: int = 20) -> list[str]:
    """The functions that took most, "SHARE OBJECT SYMBOL", while `run` ran; or why there are none."""
    if shutil.which("perf") is None:
        return ["there is no perf in the path (package linux-perf)"]
    with tempfile.TemporaryDirectory(prefix="sluice-perf-") as folder:
        data = Path(folder) / "data"
        # cpu-clock needs no counters of the processor, which guests often do not get.
        perf = subprocess.Popen(["perf", "record", "--event", "cpu-clock", "--freq", str(_FREQUENCY), "--pid",
                                 str(pid), "--output", str(data)], stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, start_new_session=True)
        try:
            run()
        finally:
            perf.send_signal(signal.SIGINT)
            _, words = perf.communicate(timeout=60)
        if not data.exists():
            return [f"perf record: {words.decode(errors='replace').strip()[-300:]}"]
        report = subprocess.run(["perf", "report", "--input", str(data), "--stdio", "--sort", "dso,symbol",
                                 "--percent-limit", "1"], capture_output=True, text=True, check=False)
    # The two columns at the end are for counters that a sampling clock has not.
    rows = [re.sub(r"\s+-\s+-\s*$", "", line.strip()) for line in report.stdout.splitlines()
            if re.match(r"\s+\d+\.\d+%", line)]
    return rows[:lines] or [f"perf report: {report.stderr.strip()[-300:]}"]
