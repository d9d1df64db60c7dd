"""Runs the tests that need another kernel, in a guest: python3 tests/vm [--junit FILE] [--list] [PATTERN…]

Without a pattern all of them, else those whose name contains one. SLUICE_BINARY names the program to test
(default: build/release/control/sluice). SLUICE_VM_SECONDS is how long the guest may take, SLUICE_VM_LONG=1 adds the
tests that wait for minutes.
"""

import argparse
import os
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "guest"), str(HERE.parent / "netns")]

from guest import run as guest  # noqa: E402
from harness.node import binary  # noqa: E402
from host import image  # noqa: E402
from host.kernel import Unavailable, kernel  # noqa: E402
from host.machine import Hung, Machine  # noqa: E402

# About six times what it takes on an idle machine with two cores: only a guest that hangs comes here.
_GUEST_SECONDS = 600.0
# Environment variables that the tests inside know.
_PASSED_ON = ("SLUICE_VM_LONG", "SLUICE_VM_PATIENCE", "SLUICE_VM_KTLS_BYTES")


class Report:
    """One line for each test on the terminal, and a JUnit report."""

    def __init__(self, tests: list[str]):
        self.suite = ElementTree.Element("testsuite", name="vm")
        self.missing = dict.fromkeys(tests)  # of which there is no result yet, in order
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}

    def add(self, test: str, verdict: str, text: str = "", seconds: float = 0.0) -> None:
        self.missing.pop(test, None)
        self.counts[verdict] += 1
        name = test.removeprefix("test_")
        case = ElementTree.SubElement(self.suite, "testcase", name=name, time=f"{seconds:.3f}")
        if verdict == "failed":
            last = text.strip().splitlines()[-1] if text.strip() else ""
            ElementTree.SubElement(case, "failure", message=last[:300]).text = _printable(text)
        elif verdict == "skipped":
            ElementTree.SubElement(case, "skipped", message=text)
        print(f"{seconds:7.2f} s  {name:<80} {'ok' if verdict == 'passed' else verdict}", flush=True)
        if text:
            print(text, flush=True)

    def skip_all(self, reason: str) -> None:
        """One line for all, because it is one reason."""
        self.add(f"all {len(self.missing)} tests of the guest", "skipped", reason)
        self.missing.clear()

    def add_missing(self, verdict: str, text: str) -> None:
        for test in list(self.missing):
            self.add(test, verdict, text)
            if verdict == "failed":
                text = "the guest was gone by then"


def _printable(text: str) -> str:
    """XML cannot hold control characters, not even escaped."""
    return "".join(c if c in "\n\t" or c.isprintable() else "?" for c in text)


def run_guest(tests: list[str], report: Report) -> None:
    with tempfile.TemporaryDirectory(prefix="sluice-vm-") as temporary:
        initial = Path(temporary, "initial")
        try:
            machine = Machine(kernel(), initial, Path(temporary))
            image.build(initial, machine.kernel, binary(), tests)
            environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
            seconds = float(os.environ.get("SLUICE_VM_SECONDS", _GUEST_SECONDS))
            running = None
            try:
                for event in machine.run(environment, seconds):
                    if event["event"] == "fact":
                        print(f"{event['name']}: {event['value']}", flush=True)
                    elif event["event"] == "begin":
                        running = event["test"]
                    elif event["event"] == "end":
                        report.add(event["test"], event["verdict"], event["text"], event["seconds"])
                report.add_missing("failed", "the guest came to its end without a result of this test")
            except Hung as hung:
                report.add_missing("failed", f"{hung}; the last test that began is {running}.\n"
                                             f"The console's last lines:\n{machine.console_tail()}")
        except Unavailable as unavailable:
            report.skip_all(str(unavailable))


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/vm", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--junit", type=Path)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("patterns", nargs="*")
    arguments = parser.parse_args()

    tests = [test.id() for test in guest.discover()]
    chosen = [test for test in tests
              if not arguments.patterns or any(pattern in test for pattern in arguments.patterns)]
    if arguments.list:
        print("\n".join(chosen))
        return 0
    if not chosen:
        sys.exit("no test has such a name; --list shows them")
    if not binary().exists():
        sys.exit(f"{binary()} is not there; build it with scripts/dev build")

    began = time.monotonic()
    report = Report(chosen)
    try:
        run_guest(chosen, report)
    except KeyboardInterrupt:
        report.add_missing("failed", "ended by a signal")
    finally:
        if arguments.junit:
            ElementTree.ElementTree(report.suite).write(arguments.junit, encoding="unicode")
    counts = report.counts
    print(f"{sum(counts.values())} tests, {counts['failed']} failed, {counts['skipped']} skipped, "
          f"{time.monotonic() - began:.0f} s")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
