"""Programs that run beside the test, each ended by its process id."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Mapping, Sequence

from . import cleanup


class Failed(AssertionError):
    """A program that was to succeed did not."""


def run(command: Sequence[str], *, stdin: str | None = None, seconds: float = 60) -> str:
    """Runs a program to its end and returns what it printed; fails, with its words, if it fails."""
    done = subprocess.run(list(command), input=stdin, capture_output=True, text=True,
                          timeout=seconds, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Process:
    """A program that goes on running. Its output is in `log`.

    It is killed when the thread that started it ends, so that even a killed test leaves nothing behind;
    therefore it must be started by the main thread.
    """

    def __init__(self, command: Sequence[str], log: Path, *, prefix: Sequence[str] = (),
                 environment: Mapping[str, str] | None = None):
        self.command = list(command)
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [*prefix, "setpriv", "--pdeathsig", "KILL", "--", *command],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the test; it then ends the program in order
                env=environment)
        cleanup.later(self.end)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def exit_code(self) -> int | None:
        """None while it runs; the negative signal number if one killed it."""
        return self._popen.poll()

    def wait(self, seconds: float) -> int:
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.command[0]} still runs after {seconds:g} s") from None

    def send(self, number: signal.Signals) -> None:
        if self.exit_code() is None:
            self._popen.send_signal(number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self._popen.wait(10)

    def end(self) -> None:
        self.send(signal.SIGTERM)
        try:
            self._popen.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def processor_seconds(self) -> float:
        """What all of its threads have used so far, in the kernel as well."""
        # After the name, which ends with the last ")", utime and stime are the 12th and 13th field.
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"{self.command[0]} has no resident memory: it ended")
