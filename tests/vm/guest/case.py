"""The test cases that the files here are made of."""

import sys
import unittest
from typing import Any, Callable, ClassVar

from harness import cleanup
from harness.network import Namespace, authority
from harness.wireguard import Peer

import kernel_log
from ends import KERNEL_PORT, SLUICE_PORT, KernelEnd, SluiceEnd, inner_networks
from traffic import ping
from wire import KERNEL, KERNEL_INNER, SLUICE, SLUICE_INNER, Ear, the_wire

# Each engine has one family outside, so that both are seen with this kernel too.
ENGINE = {4: "io_uring", 6: "epoll"}


def over_both_families(case: type) -> None:
    """Makes a test class for each IP version outside out of one; its `outer` says which."""
    for outer in (4, 6):
        made = type(f"{case.__name__}OverIpv{outer}", (case,),
                    {"outer": outer, "__module__": case.__module__, "__doc__": case.__doc__})
        setattr(sys.modules[case.__module__], made.__name__, made)


def takes_minutes(test: Callable[[Any], None]) -> Callable[[Any], None]:
    """Marks a test that is run only where somebody asks for it (run.discover())."""
    test.takes_minutes = True
    return test


class TunnelTest(unittest.TestCase):
    """The two ends, for each test anew; nothing runs yet. When a test ends, Sluice has to end in order, and the
    kernel must have had no reason to complain."""

    outer: ClassVar[int] = 4
    expected: tuple[str, ...] = ()  # complaints of the kernel that a test provokes

    def setUp(self) -> None:
        kernel_log.switch_on()
        self.wire = the_wire()  # stays for the next test
        self.addCleanup(cleanup.undo_to, cleanup.mark())
        self.log = kernel_log.KernelLog()
        self.addCleanup(self.log.close)
        self.ear = Ear()
        self.addCleanup(self.ear.close)
        self.kernel = KernelEnd()
        self.sluice = self.make_sluice()
        self.running = False

    def make_sluice(self) -> Any:
        return SluiceEnd(ENGINE[self.outer])  # a test may want another

    def tearDown(self) -> None:
        if self.running:
            self.sluice.stop()
        complaints = [line for line in self.log.complaints() if not any(words in line for words in self.expected)]
        self.assertEqual(complaints, [], "the kernel complains")

    def sluice_as_peer(self, *, known: bool, outer: int | None = None, **options: Any) -> Peer:
        """What the kernel is told about Sluice: `known` says whether it knows where that is."""
        endpoint = authority(SLUICE[outer or self.outer], SLUICE_PORT) if known else None
        return Peer(self.sluice.keys.public, inner_networks(SLUICE_INNER), endpoint=endpoint, **options)

    def kernel_as_peer(self, *, known: bool, outer: int | None = None, **options: Any) -> Peer:
        endpoint = authority(KERNEL[outer or self.outer], KERNEL_PORT) if known else None
        return Peer(self.kernel.keys.public, inner_networks(KERNEL_INNER), endpoint=endpoint, **options)

    def start(self, *, begins: str, **options: Any) -> None:
        """Starts both ends; only the one that `begins` knows where the other is. Options are for both."""
        self.kernel.make(self.sluice_as_peer(known=begins == "kernel", **options))
        self.sluice.start(self.kernel_as_peer(known=begins == "sluice", **options))
        self.running = True

    def connect(self, *, begins: str, **options: Any) -> None:
        """Also makes the handshake."""
        self.start(begins=begins, **options)
        self.ping_from(begins)

    def ping_from(self, end: str, *sizes: int, inner: int = 4) -> None:
        if end == "sluice":
            ping(self.wire.sluice, KERNEL_INNER[inner], *sizes)
        else:
            ping(self.wire.kernel, SLUICE_INNER[inner], *sizes)

    def ways(self, inner: int) -> tuple[tuple[Namespace, Namespace, str], ...]:
        """From where, to where, and to which address: in either direction through the tunnel."""
        return ((self.wire.sluice, self.wire.kernel, KERNEL_INNER[inner]),
                (self.wire.kernel, self.wire.sluice, SLUICE_INNER[inner]))

    def ping_both_ways(self) -> None:
        for end in ("sluice", "kernel"):
            for inner in (4, 6):
                self.ping_from(end, inner=inner)

    def explain(self) -> str:
        said = "\n".join(line for line in self.log.lines()[-40:])
        heard = "\n".join(f"{outer.sender} {outer.source} type {outer.type}, {len(outer.payload)} bytes"
                          for outer in self.ear.heard()[-30:])
        return f"on the wire:\n{heard}\nSluice's last words:\n{self.sluice.tail()}\nthe kernel's last words:\n{said}"
