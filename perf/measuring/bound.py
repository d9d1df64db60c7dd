"""What nobody can go below: a loop that does nothing but the AEAD, on the packet size that TCP fills."""

import json
import os
import statistics
from pathlib import Path

from harness import processes

_SIZE = 1420
_REPEAT = 3


def program_in(build: Path) -> Path | None:
    found = [path for path in build.rglob("bench_aead") if os.access(path, os.X_OK)]
    return found[0] if found else None


def measure(program: Path, seconds: float) -> dict[str, float]:
    """CPU seconds per GB of each benchmark of that size: each implementation that is there, sealing and opening."""
    words = processes.run([str(program), f"--benchmark_filter=[/:]{_SIZE}(/|$)", f"--benchmark_min_time={seconds:g}",
                           f"--benchmark_repetitions={_REPEAT}", "--benchmark_format=json",
                           "--benchmark_enable_random_interleaving=true"], seconds=120)
    if "{" not in words:
        raise processes.Failed(f"{program}: {words.strip()}")
    times: dict[str, list[float]] = {}
    for entry in json.loads(words[words.index("{"):])["benchmarks"]:
        if entry["run_type"] == "iteration":
            if entry.get("error_occurred"):
                continue  # an implementation that this processor cannot run
            times.setdefault(entry["run_name"], []).append(1e9 / entry["bytes_per_second"])
    return {name: statistics.median(values) for name, values in times.items()}
