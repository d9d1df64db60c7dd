"""Runs the tests that /tests/chosen names, inside the guest, and tells the outside (host/machine.py has the form)."""

import json
import os
import platform
import sys
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "netns")]

from harness import cleanup  # noqa: E402


class Outside:
    """The serial port to the outside. What programs print goes to the console instead."""

    def __init__(self) -> None:
        self._port = os.dup(1)
        console = os.open("/dev/console", os.O_WRONLY)
        os.dup2(console, 1)
        os.dup2(console, 2)

    def tell(self, event: str, **what: object) -> None:
        line = json.dumps({"event": event, **what}).encode() + b"\n"
        while line:
            line = line[os.write(self._port, line):]


class Results(unittest.TestResult):
    def __init__(self, outside: Outside) -> None:
        super().__init__()
        self._outside = outside
        self._failures: list[str] = []  # of the test that runs
        self._skipped: str | None = None

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._failures, self._skipped = [], None
        self._began = time.monotonic()
        self._outside.tell("begin", test=test.id())

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        self._end(test.id(), time.monotonic() - self._began)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        self._skipped = reason

    def addFailure(self, test: unittest.TestCase, error) -> None:
        super().addFailure(test, error)
        self._failed(test, self.failures[-1][1])

    def addError(self, test: unittest.TestCase, error) -> None:
        super().addError(test, error)
        self._failed(test, self.errors[-1][1])
        if not isinstance(test, unittest.TestCase):  # a class could not be set up, or not be ended
            self._end(test.id(), 0)
            self._failures = []

    def _failed(self, test, text: str) -> None:
        self._failures.append(text)
        explain = getattr(test, "explain", None)
        if explain is not None:
            try:
                self._failures.append(explain())
            except Exception as trouble:  # the test broke off before there was anything to explain
                self._failures.append(f"(no explanation: {trouble})")

    def _end(self, test: str, seconds: float) -> None:
        verdict, text = "passed", ""
        if self._failures:
            verdict, text = "failed", "\n".join(self._failures)
        elif self._skipped is not None:
            verdict, text = "skipped", self._skipped
        self._outside.tell("end", test=test, verdict=verdict, seconds=round(seconds, 3), text=text)


def discover() -> list[unittest.TestCase]:
    """Every test that there is, in order; those that take minutes only if SLUICE_VM_LONG says so."""
    loader = unittest.TestLoader()
    found = loader.discover(str(HERE), top_level_dir=str(HERE))
    if loader.errors:
        sys.exit("\n".join(loader.errors))
    everything = os.environ.get("SLUICE_VM_LONG")
    return [test for test in _tests_in(found) if everything or not takes_minutes(test)]


def takes_minutes(test: unittest.TestCase) -> bool:
    return getattr(getattr(test, test._testMethodName), "takes_minutes", False)


def _tests_in(suite: unittest.TestSuite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _tests_in(test)
        else:
            yield test


def main() -> None:
    outside = Outside()
    chosen = set(Path("/tests/chosen").read_text().split())
    os.environ["SLUICE_BINARY"] = "/usr/bin/sluice"
    outside.tell("fact", name="kernel", value=platform.release())
    modules = sorted(line.split()[0] for line in Path("/proc/modules").read_text().splitlines())
    outside.tell("fact", name="modules", value=" ".join(modules))
    unittest.TestSuite(test for test in discover() if test.id() in chosen).run(Results(outside))
    cleanup.undo_to(0)
    outside.tell("done")


if __name__ == "__main__":
    main()
