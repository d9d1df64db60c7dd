"""Medians, ratios to the first program, and which targets are reached."""

import statistics
from typing import Any, Callable, Iterable

from . import record
from .tunnel_tests import HANDSHAKES, LATENCY, MEMORY, TCP, UDP

# Of the first program's CPU seconds per GB, at most.
TCP_CPU_MAX, UDP_CPU_MAX = 0.5, 0.4
# Of the AEAD's own speed, at least.
BOUND_SHARE_MIN = 0.5
# Packets per second and latency may not be worse than the first program's. Two medians of equal programs differ
# by a few per cent; a worse one is called worse from here on.
_NOISE = 0.03

_FIGURES = {
    "bulk": ("cpu_s_per_gb", "user_s_per_gb", "system_s_per_gb", "client_s_per_gb", "machine_s_per_gb", "gbit_per_s",
             "packets_per_s", "cpu_us_per_packet", "lost_share", "steal_s"),
    LATENCY: ("p50_us", "p99_us", "p999_us", "round_trips", "lost", "cpu_us_per_round_trip"),
    HANDSHAKES: ("handshakes_per_s", "cpu_ms_per_handshake", "answered", "unanswered", "cookies"),
    MEMORY: ("idle_bytes", "loaded_bytes", "configured_bytes", "connected_bytes", "configured_s", "peers"),
}


class Report:
    """`programs`: their names; the first that got anything done is what the others are compared with."""

    def __init__(self, programs: list[str], runs: list[dict], failures: list[dict], bounds: list[dict[str, float]],
                 absent: dict[str, str]):
        self._failures, self._absent = failures, absent
        measured = {run["program"] for run in runs}
        self.programs = [program for program in programs if program in measured]
        # Which implementation is the fastest is the same in each round, or does not matter.
        names = bounds[0] if bounds else {}
        medians = {name: statistics.median(one[name] for one in bounds if name in one) for name in names}
        self.bound: dict[str, Any] = {"all": medians}
        if medians:
            best = min(medians, key=medians.__getitem__)
            self.bound |= {"name": best, "cpu_s_per_gb": medians[best]}
        self._summary = {}
        for program in self.programs:
            for test in (*TCP, *UDP, LATENCY, HANDSHAKES, MEMORY):
                found = [run for run in runs if run["program"] == program and run["test"] == test]
                if found:
                    self._summary[program, test] = self._medians(test, found)

    @staticmethod
    def _medians(test: str, runs: list[dict]) -> dict[str, Any]:
        keys = _FIGURES.get(test, _FIGURES["bulk"])
        figures: dict[str, Any] = {key: statistics.median(run[key] for run in runs) for key in keys if key in runs[0]}
        if "cpu_s_per_gb" in figures:
            values = [run["cpu_s_per_gb"] for run in runs]
            figures["cpu_s_per_gb_range"] = [min(values), max(values)]
        return figures

    def summary(self) -> list[dict]:
        return [{"program": program, "test": test, **figures,
                 **{f"{key}_ratio": self._ratio(program, test, key)
                    for key in ("cpu_s_per_gb", "packets_per_s", "gbit_per_s", "p99_us", "handshakes_per_s")
                    if key in figures}}
                for (program, test), figures in self._summary.items()]

    def _ratio(self, program: str, test: str, key: str) -> float | None:
        """To the first program; nothing if that has no such figure."""
        mine, first = (self._summary.get((name, test), {}).get(key) for name in (program, self.programs[0]))
        return mine / first if mine is not None and first else None

    # ---- targets

    def verdicts(self) -> list[dict]:
        """For Sluice, in all its forms: what was to be reached, and what was. It is not its own measure."""
        found = []
        if self.programs and self.programs[0].startswith("sluice"):
            return found
        for program, test in self._summary:
            if not program.startswith("sluice"):
                continue
            for what, value, limit, reached in self._targets(program, test):
                if value is not None:
                    found.append({"program": program, "test": test, "what": what, "value": value, "limit": limit,
                                  "reached": reached(value)})
        return found

    def _targets(self, program: str, test: str) -> Iterable[tuple[str, float | None, float, Callable[[float], bool]]]:
        ratio = lambda key: self._ratio(program, test, key)  # noqa: E731
        if test in TCP:
            yield "CPU of the first, at most", ratio("cpu_s_per_gb"), TCP_CPU_MAX, lambda value: value <= TCP_CPU_MAX
            if "cpu_s_per_gb" in self.bound:
                share = self.bound["cpu_s_per_gb"] / max(self._summary[program, test]["cpu_s_per_gb"], 1e-9)
                yield "share of the AEAD bound, at least", share, BOUND_SHARE_MIN, lambda v: v >= BOUND_SHARE_MIN
        elif test in UDP:
            yield "CPU of the first, at most", ratio("cpu_s_per_gb"), UDP_CPU_MAX, lambda value: value <= UDP_CPU_MAX
            yield "packets/s of the first, at least", ratio("packets_per_s"), 1.0, lambda value: value >= 1 - _NOISE
        elif test == LATENCY:
            yield "p99 of the first, at most", ratio("p99_us"), 1.0, lambda value: value <= 1 + _NOISE

    def missed(self, program: str) -> list[str]:
        """The tests in which it misses a target."""
        return list(dict.fromkeys(verdict["test"] for verdict in self.verdicts()
                                  if verdict["program"] == program and not verdict["reached"]))

    # ---- words

    def in_words(self, rounds: int) -> str:
        parts = [f"{rounds} round{'s' if rounds > 1 else ''}, medians; all ratios are to {self.programs[0]}."]
        if "name" in self.bound:
            parts.append(f"AEAD alone, 1420 bytes: {self.bound['cpu_s_per_gb']:.3f} CPU s/GB ({self.bound['name']})\n"
                         + ", ".join(f"{name} {value:.3f}" for name, value in self.bound["all"].items()))
        for title, rows in (("TCP", self._bulk(TCP, packets=False)), ("UDP, packet by packet", self._bulk(UDP, True)),
                            ("Round trips, one at a time", self._latency()),
                            ("All peers come back at once", self._handshakes()), ("Memory, MB", self._memory()),
                            ("Targets", self._verdict_rows())):
            if len(rows) > 1:
                parts.append(f"{title}\n{record.table(rows)}")
        for failure in self._failures:
            parts.append(f"{failure['program']} failed in round {failure['round']}: {failure['why']}")
        for name, why in self._absent.items():
            parts.append(f"{name} was left out: {why}")
        return "\n\n".join(parts)

    def _of(self, test: str) -> list[tuple[str, dict]]:
        return [(program, self._summary[program, test]) for program in self.programs
                if (program, test) in self._summary]

    def _bulk(self, tests: Iterable[str], packets: bool) -> list[list[str]]:
        rows = [["test, program", "CPU s/GB", "user", "system", "CPU range", "client", "machine", "Gbit/s",
                 *(["packets/s", "us/packet", "lost"] if packets else []), "CPU ratio",
                 *(["packets ratio"] if packets else ["Gbit/s ratio", "of bound"])]]
        for test in tests:
            for program, one in self._of(test):
                low, high = one["cpu_s_per_gb_range"]
                row = [f"{test}  {program}", *(f"{one[key]:.3f}" for key in
                                               ("cpu_s_per_gb", "user_s_per_gb", "system_s_per_gb")),
                       f"{low:.3f} to {high:.3f}", f"{one['client_s_per_gb']:.3f}", f"{one['machine_s_per_gb']:.3f}",
                       f"{one['gbit_per_s']:.2f}"]
                if packets:
                    row += [f"{one['packets_per_s']:,.0f}", f"{one['cpu_us_per_packet']:.2f}",
                            f"{100 * one['lost_share']:.1f} %"]
                row.append(_two(self._ratio(program, test, "cpu_s_per_gb")))
                row.append(_two(self._ratio(program, test, "packets_per_s" if packets else "gbit_per_s")))
                if not packets:
                    row.append(f"{100 * self.bound['cpu_s_per_gb'] / max(one['cpu_s_per_gb'], 1e-9):.0f} %"
                               if "name" in self.bound else "")
                rows.append(row)
        return rows

    def _latency(self) -> list[list[str]]:
        rows = [["program", "p50 us", "p99 us", "p99.9 us", "CPU us each", "lost", "p99 ratio"]]
        for program, one in self._of(LATENCY):
            rows.append([program, *(f"{one[key]:.1f}" for key in ("p50_us", "p99_us", "p999_us",
                                                                   "cpu_us_per_round_trip")),
                         f"{one['lost']:.0f}", _two(self._ratio(program, LATENCY, "p99_us"))])
        return rows

    def _handshakes(self) -> list[list[str]]:
        rows = [["program", "handshakes/s", "CPU ms each", "answered", "unanswered", "cookies", "ratio"]]
        for program, one in self._of(HANDSHAKES):
            rows.append([program, f"{one['handshakes_per_s']:,.0f}", f"{one['cpu_ms_per_handshake']:.3f}",
                         *(f"{one[key]:.0f}" for key in ("answered", "unanswered", "cookies")),
                         _two(self._ratio(program, HANDSHAKES, "handshakes_per_s"))])
        return rows

    def _memory(self) -> list[list[str]]:
        peers = next((f"{one['peers']:,.0f} peers" for _, one in self._of(MEMORY) if "peers" in one), "many peers")
        rows = [["program", "one peer, idle", "after the load", peers, "with sessions", "wg setconf, s"]]
        for program, one in self._of(MEMORY):
            rows.append([program, *(f"{one[key] / 1e6:.1f}" if key in one else "" for key in
                                    ("idle_bytes", "loaded_bytes", "configured_bytes", "connected_bytes")),
                         f"{one['configured_s']:.2f}" if "configured_s" in one else ""])
        return rows

    def _verdict_rows(self) -> list[list[str]]:
        rows = [["program, test", "what", "is", "limit", ""]]
        for one in self.verdicts():
            rows.append([f"{one['program']}  {one['test']}", one["what"], f"{one['value']:.2f}", f"{one['limit']:.2f}",
                         "reached" if one["reached"] else "MISSED"])
        return rows


def _two(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def profiles_in_words(profiles: dict[str, dict[str, list[str]]]) -> list[str]:
    return [f"Where the time of {program} goes, {test}\n" + "\n".join(lines)
            for program, tests in profiles.items() for test, lines in tests.items()]
