"""Processor time as the kernel accounts it, in seconds.

A process's numbers are those of all its threads, ended ones included, and of the io_uring workers
that the kernel runs for it. What a packet costs in a softirq is billed to whoever ran at that moment: a sender
pays for the receiver's side of a virtual link. Therefore the whole machine is read as well.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable

_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class CpuTime:
    user: float = 0.0
    system: float = 0.0

    @property
    def total(self) -> float:
        return self.user + self.system

    def __add__(self, other: "CpuTime") -> "CpuTime":
        return CpuTime(self.user + other.user, self.system + other.system)

    def __sub__(self, other: "CpuTime") -> "CpuTime":
        return CpuTime(self.user - other.user, self.system - other.system)


def of_process(pid: int) -> CpuTime:
    # The second field is the name in brackets, and may itself hold brackets and spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return CpuTime(int(fields[11]) * _TICK, int(fields[12]) * _TICK)


def of_processes(pids: Iterable[int]) -> CpuTime:
    return sum(map(of_process, pids), CpuTime())


def exact_total(pid: int) -> float:
    """User and system time together, without the kernel's rounding to ticks of 10 ms: for short runs."""
    # The clock of another process, as clock_getcpuclockid(3) makes its number; 2: what the scheduler counted.
    return time.clock_gettime(~pid << 3 | 2)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@dataclass(frozen=True)
class MachineTime:
    busy: float   # user, nice, system, irq and softirq of all cores
    steal: float  # what a hypervisor took away: when it is large, no figure of the run is worth much

    def __sub__(self, other: "MachineTime") -> "MachineTime":
        return MachineTime(self.busy - other.busy, self.steal - other.steal)


def of_machine() -> MachineTime:
    words = Path("/proc/stat").read_text().partition("\n")[0].split()
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, words[1:9])
    return MachineTime((user + nice + system + irq + softirq) * _TICK, steal * _TICK)
