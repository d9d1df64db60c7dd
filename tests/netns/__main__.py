"""Runs the system tests: python3 tests/netns [--junit FILE] [--list] [PATTERN…]

Without a pattern all of them, else those whose name contains one. SLUICE_BINARY names the program to test
(default: build/release/control/sluice). Needs root.
"""

import argparse
import os
import sys
import time
import traceback
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from harness import cleanup  # noqa: E402
from harness.node import binary  # noqa: E402


class Results(unittest.TestResult):
    """One line for each test on the terminal, and a JUnit report."""

    def __init__(self) -> None:
        super().__init__()
        self.suite = ElementTree.Element("testsuite", name="system")
        self._started = time.monotonic()

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._started = time.monotonic()

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self._case(test, "ok")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        ElementTree.SubElement(self._case(test, f"skipped: {reason}"), "skipped", message=reason)

    def addFailure(self, test: unittest.TestCase, error) -> None:
        super().addFailure(test, error)
        self._failed(test, error)

    def addError(self, test: unittest.TestCase, error) -> None:
        super().addError(test, error)
        self._failed(test, error)

    def addSubTest(self, test, subtest, error) -> None:
        super().addSubTest(test, subtest, error)
        if error is not None:
            self._failed(subtest, error)

    def _failed(self, test, error) -> None:
        text = "".join(traceback.format_exception(*error))
        # The node of a class is in the class; that of a test in the test, or in the test of a subtest.
        where = getattr(test, "test_case", test)
        explain = getattr(where, "explain", None)
        if explain is not None:
            try:
                text += "\n" + explain()
            except Exception as nothing:  # what cannot be explained has still failed, and the others go on
                text += f"\nno explanation: {nothing}"
        ElementTree.SubElement(self._case(test, "FAILED"), "failure", message=str(error[1])[:300]).text = printable(text)
        print(text, flush=True)

    def _case(self, test, verdict: str) -> ElementTree.Element:
        name = name_of(test)
        seconds = time.monotonic() - self._started
        print(f"{seconds:7.2f} s  {name:<70} {verdict}", flush=True)
        return ElementTree.SubElement(self.suite, "testcase", name=name, time=f"{seconds:.3f}")


def name_of(test) -> str:
    # What fails while a class is set up is reported under a placeholder with a name of its own.
    return test.id().removeprefix("test_")


def printable(text: str) -> str:
    """XML cannot hold control characters, not even escaped."""
    return "".join(c if c in "\n\t" or c.isprintable() else "?" for c in text)


def tests_in(suite: unittest.TestSuite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests_in(test)
        else:
            yield test


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/netns", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--junit", type=Path)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("patterns", nargs="*")
    arguments = parser.parse_args()

    found = list(tests_in(unittest.defaultTestLoader.discover(str(HERE), top_level_dir=str(HERE))))
    chosen = [test for test in found if not arguments.patterns
              or any(pattern in name_of(test) for pattern in arguments.patterns)]
    if arguments.list:
        print("\n".join(map(name_of, chosen)))
        return 0
    if not chosen:
        sys.exit("no test has such a name; --list shows them")
    if os.geteuid() != 0:
        sys.exit("the system tests need root, for network namespaces and the tunnel's interface")
    if not binary().exists():
        sys.exit(f"{binary()} is not there; build it with scripts/dev build")

    cleanup.on_signals()
    results = Results()
    try:
        unittest.TestSuite(chosen).run(results)
    except KeyboardInterrupt:
        ElementTree.SubElement(ElementTree.SubElement(results.suite, "testcase", name="all tests"),
                               "failure", message="ended by a signal before the last test")
        results.failures.append((None, "ended by a signal"))
    finally:
        cleanup.undo_to(0)
        if arguments.junit:
            ElementTree.ElementTree(results.suite).write(arguments.junit, encoding="unicode")
    bad = len(results.failures) + len(results.errors)
    print(f"{results.testsRun} tests, {bad} failed, {len(results.skipped)} skipped")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
