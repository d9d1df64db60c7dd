"""Results: a table for people, and JSON with everything for programs, side by side in perf/results."""

import datetime
import json
from pathlib import Path
from typing import Any, Sequence

RESULTS = Path(__file__).resolve().parents[1] / "results"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need; the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def heading(facts: dict[str, Any], versions: dict[str, str]) -> str:
    lines = [f"{name.replace('_', ' '):<14} {value}" for name, value in facts.items()]
    lines += [f"{name:<14} {value}" for name, value in versions.items()]
    return "\n".join(lines)


def keep(name: str, document: dict[str, Any], text: str) -> Path:
    """Writes DATE-NAME.json and .txt and returns the latter. A recorded result is never overwritten."""
    RESULTS.mkdir(exist_ok=True)
    stem = base = f"{datetime.date.today().isoformat()}-{name}"
    serial = 1
    while (RESULTS / f"{stem}.json").exists() or (RESULTS / f"{stem}.txt").exists():
        serial += 1
        stem = f"{base}-{serial}"
    (RESULTS / f"{stem}.json").write_text(json.dumps(document, indent=2) + "\n")
    path = RESULTS / f"{stem}.txt"
    path.write_text(text.rstrip() + "\n")
    return path
