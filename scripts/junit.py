"""Reads JUnit reports: the first line printed is "PASSED FAILED SKIPPED", then follow the names of what was
skipped, with the reason, and the output of what failed. Used by scripts/test."""

import sys
import xml.etree.ElementTree as ElementTree

# ctest calls a test "not run" both when it asked to be skipped and when it could not be started.
ASKED_FOR_SKIP = ("SKIP_RETURN_CODE", "SKIP_REGULAR_EXPRESSION")


def verdict(case: ElementTree.Element) -> tuple[str, str]:
    """passed, failed, skipped or disabled, and the reason."""
    failure = case.find("failure")
    if failure is None:
        failure = case.find("error")
    if failure is not None:
        return "failed", failure.get("message") or ""
    skipped = case.find("skipped")
    if skipped is None:
        return "passed", ""
    reason = skipped.get("message") or ""
    if case.get("status") == "notrun" and not reason.startswith(ASKED_FOR_SKIP):
        return "failed", f"could not be run: {reason}"
    return "skipped", reason


def main() -> None:
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    lines = []
    for case in ElementTree.parse(sys.argv[1]).getroot().iter("testcase"):
        result, reason = verdict(case)
        counts[result] += 1
        if result == "skipped":
            lines.append(f"skipped: {case.get('name')}: {reason}")
        elif result == "failed":
            lines.append(f"FAILED: {case.get('name')}" + (f": {reason}" if reason else ""))
            output = case.findtext("system-out") or case.findtext("failure") or ""
            lines += ["    " + line for line in output.strip().splitlines()[-80:]]
    print(counts["passed"], counts["failed"], counts["skipped"])
    print("\n".join(lines))


if __name__ == "__main__":
    main()
