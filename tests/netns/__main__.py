"""Runs the system tests: python3 tests/netns [--junit FILE] [--list] [--jobs N] [PATTERN…]

Without a pattern all of them, else those whose name contains one. SLUICE_BINARY names the program to test
(default: build/release/control/sluice). Needs root.

With --jobs, classes of tests run beside each other, each in a process of its own; those that say `alone = True`,
because they measure, come last, one after the other.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
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


def matches(name: str, pattern: str) -> bool:
    return name == pattern[1:] if pattern.startswith("=") else pattern in name


def printable(text: str) -> str:
    """XML cannot hold control characters, not even escaped."""
    return "".join(c if c in "\n\t" or c.isprintable() else "?" for c in text)


def tests_in(suite: unittest.TestSuite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests_in(test)
        else:
            yield test


def run_classes(tests: list[unittest.TestCase], jobs: int, junit: Path | None) -> int:
    """Each class in a process of its own, which undoes what it did; this one only adds up."""
    classes = list(dict.fromkeys(map(type, tests)))
    alone = [each for each in classes if getattr(each, "alone", False)]
    beside = [each for each in classes if each not in alone]
    suite = ElementTree.Element("testsuite", name="system")
    with tempfile.TemporaryDirectory(prefix="sluice-netns-") as folder:
        running: dict[int, Run] = {}
        try:
            for waiting, at_once in ((beside, jobs), (alone, 1)):
                while waiting or running:
                    while waiting and len(running) < at_once:
                        run = Run(waiting.pop(0), tests, Path(folder))
                        running[run.process.pid] = run
                    # Told of one that has ended, and of no other child, because there is none.
                    ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
                    running.pop(ended.si_pid).add_to(suite)
        except KeyboardInterrupt:
            for run in running.values():
                run.process.send_signal(signal.SIGTERM)
            for run in running.values():
                run.add_to(suite)
    if junit:
        ElementTree.ElementTree(suite).write(junit, encoding="unicode")
    cases = suite.findall("testcase")
    bad = sum(case.find("failure") is not None for case in cases)
    skipped = sum(case.find("skipped") is not None for case in cases)
    print(f"{len(cases)} tests, {bad} failed, {skipped} skipped")
    return 1 if bad else 0


class Run:
    """The tests of one class that were chosen, in a process of their own."""

    def __init__(self, of: type, tests: list[unittest.TestCase], folder: Path):
        self._name = f"{of.__module__.removeprefix('test_')}.{of.__qualname__}"
        self._junit = folder / f"{self._name}.xml"
        self._output = folder / f"{self._name}.log"
        chosen = [name_of(test) for test in tests if type(test) is of]
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-B", str(HERE), "--junit", str(self._junit), *(f"={name}" for name in chosen)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)

    def add_to(self, suite: ElementTree.Element) -> None:
        code = self.process.wait()
        words = self._output.read_text(errors="replace")
        # The last line is the sum, which the whole has too.
        print("\n".join(words.splitlines()[:-1]), flush=True)
        if self._junit.exists():
            suite.extend(ElementTree.parse(self._junit).getroot())
        else:
            lost = ElementTree.SubElement(suite, "testcase", name=self._name)
            message = f"ended with {code} and without a report"
            ElementTree.SubElement(lost, "failure", message=message).text = printable(f"{message}\n{words}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/netns", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--junit", type=Path)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("patterns", nargs="*", help="=NAME is the test of just this name")
    arguments = parser.parse_args()

    found = list(tests_in(unittest.defaultTestLoader.discover(str(HERE), top_level_dir=str(HERE))))
    chosen = [test for test in found if not arguments.patterns
              or any(matches(name_of(test), pattern) for pattern in arguments.patterns)]
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
    if arguments.jobs > 1:
        return run_classes(chosen, arguments.jobs, arguments.junit)
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
