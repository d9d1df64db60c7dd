"""Undoing, whatever happens: a test that fails, Ctrl-C, SIGTERM, an error while setting up.

Everything that changes the machine registers its undoing here at the moment it exists. Undoings run
once, last first; a test class runs those it caused, and the end of the program runs the rest.
"""

import atexit
import itertools
import os
import signal
import sys
from typing import Callable

_undoings: list[Callable[[], None]] = []
_serials = itertools.count(1)


class Terminated(KeyboardInterrupt):
    """SIGTERM. A KeyboardInterrupt, because unittest takes any other exception for a failed test."""


def later(undo: Callable[[], None]) -> None:
    _undoings.append(undo)


def mark() -> int:
    """How much there is to undo now, for undo_to()."""
    return len(_undoings)


def undo_to(count: int) -> None:
    while len(_undoings) > count:
        undo = _undoings.pop()
        try:
            undo()
        except Exception as error:  # the others still have to be undone
            print(f"cleaning up: {error}", file=sys.stderr)


def on_signals() -> None:
    """Makes SIGTERM and SIGHUP end the program as Ctrl-C does, with everything undone."""

    def terminate(number: int, frame: object) -> None:
        raise Terminated(number)

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGHUP, terminate)


def unique() -> str:
    """A short name that no other program and no earlier call has: for namespaces and interfaces."""
    serial = next(_serials)
    return str(os.getpid()) if serial == 1 else f"{os.getpid()}-{serial}"


atexit.register(undo_to, 0)
