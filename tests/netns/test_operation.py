"""What an operator sees of requests while the node runs: the access log, its rotation, and a disk that is full."""

import json
from pathlib import Path
from typing import Any

from harness.case import PUBLIC, TUNNEL, ServedTest, on_both_engines
from harness.waiting import until


@on_both_engines
class AccessLog(ServedTest):
    @classmethod
    def configure(cls, document: dict[str, Any]) -> None:
        cls.log_file = cls.directory / "access.log"
        document["log"] = {"access": str(cls.log_file)}

    @staticmethod
    def lines(file: Path) -> list[dict[str, Any]]:
        """Every line is JSON, or this fails; a line that is being written counts when it is whole."""
        text = file.read_text() if file.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def line_about(self, path: str, file: Path | None = None) -> dict[str, Any]:
        def found() -> list[dict[str, Any]]:
            return [line for line in self.lines(file or self.log_file) if line.get("path") == path]

        until(found, f"a line about {path}", 20)
        (line,) = found()
        return line

    def test_each_request_has_a_line_that_says_who_asked_and_what_became_of_it(self) -> None:
        self.assertEqual(self.inside.fetch(TUNNEL, "/echo/inside?secret=1").status, 200)
        self.assertEqual(self.neighbour.fetch(TUNNEL, "/echo/refused").status, 403)
        inside = self.line_about("/echo/inside")
        self.assertEqual((inside["peer"], inside["route"], inside["backend"], inside["status"], inside["method"]),
                         ("phone", "inside", "scripted", 200, "GET"))
        self.assertEqual((inside["server"], inside["host"]), (self.backend.url, TUNNEL))
        self.assertIn(inside["tls_version"], ("TLSv1.2", "TLSv1.3"))
        self.assertGreater(inside["bytes_sent"], 0)
        self.assertNotIn("secret", self.log_file.read_text())
        refused = self.line_about("/echo/refused")
        self.assertEqual((refused["status"], refused["route"]), (403, "inside"))
        self.assertNotIn("peer", refused)
        self.assertNotIn("server", refused)

    def test_a_log_that_was_moved_away_is_begun_anew_at_a_reload(self) -> None:
        self.assertEqual(self.neighbour.fetch(PUBLIC, "/echo/before").status, 200)
        self.line_about("/echo/before")
        old = self.log_file.with_suffix(".1")
        self.log_file.rename(old)
        self.assertEqual(self.neighbour.fetch(PUBLIC, "/echo/between").status, 200)
        self.line_about("/echo/between", old)
        self.node.ask("/v1/reload", "POST")
        until(self.log_file.exists, "the log is there again", 20)
        self.assertEqual(self.neighbour.fetch(PUBLIC, "/echo/after").status, 200)
        self.line_about("/echo/after")
        said = self.node.status()["access_log"]
        self.assertEqual((said["target"], said["dropped"], said["error"]), (str(self.log_file), 0, None))


class FullDisk(ServedTest):
    @classmethod
    def configure(cls, document: dict[str, Any]) -> None:
        document["log"] = {"access": "/dev/full"}

    def test_a_disk_that_takes_nothing_costs_lines_and_no_requests(self) -> None:
        for _ in range(20):
            self.assertEqual(self.neighbour.fetch(PUBLIC, "/echo").status, 200)
        until(lambda: self.node.status()["access_log"]["dropped"] == 20, "all lines are counted as dropped", 20)
        self.assertEqual(self.node.status()["access_log"]["error"], "cannot write: No space left on device")
        self.assert_serves()
