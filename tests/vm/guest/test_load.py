"""An end that strangers keep busy with handshakes asks for a cookie, and the other end gives it."""

import hashlib
import os
import socket
import struct
import threading
from base64 import b64decode

from harness.network import Namespace, family_of
from harness.waiting import until

from case import ENGINE, TunnelTest, over_both_families
from ends import KERNEL_PORT, PATIENCE, SLUICE_PORT, SluiceEnd
from traffic import Pinger
from wire import COOKIE, INITIATION, KERNEL, KERNEL_INNER, LINK, RESPONSE, SLUICE, SLUICE_INNER, Outer, ip

STRANGER = {4: "192.168.77.99", 6: "fd77::99"}
BITS = {4: 24, 6: 64}
SIZE = 148        # of an initiation
AT_ONCE = 60      # so many the kernel cuts out of one long datagram
UDP_SEGMENT = 103
NO_COOKIE = bytes(16)
ATTEMPTS = 4


class Flood:
    """Initiations with a valid first MAC and nothing else that is true, from an address of their own."""

    def __init__(self, namespace: Namespace, family: int, target: tuple[str, int], public_key: str):
        self._mac_key = hashlib.blake2s(b"mac1----" + b64decode(public_key)).digest()
        self._socket = namespace.make_socket(socket.SOCK_DGRAM, family_of(target[0]))
        self._socket.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, SIZE)
        self._socket.bind((STRANGER[family], 0))
        self._socket.connect(target)
        # Made beforehand, because a flood that comes slowly is none.
        self._burst = [b"".join(self._initiation() for _ in range(AT_ONCE)) for _ in range(20)]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join(PATIENCE)
        self._socket.close()

    def _send(self) -> None:
        while not self._ended.is_set():
            # Bursts, because load is what comes at once; and breath, because both ends and the test share two cores.
            for datagrams in self._burst:
                try:
                    self._socket.send(datagrams)
                except OSError:
                    pass  # the other end's buffers are full, which is just what is wanted
            self._ended.wait(0.5)  # load is remembered for a second

    def _initiation(self) -> bytes:
        message = struct.pack("<II", 1, 7) + os.urandom(108)
        return message + hashlib.blake2s(message, key=self._mac_key, digest_size=16).digest() + NO_COOKIE


@over_both_families
class UnderLoad(TunnelTest):
    # What strangers send is invalid, and too much; and whoever is asked for a cookie has to begin again.
    expected = ("Invalid handshake initiation", "Dropping handshake packet", "did not complete")

    def make_sluice(self) -> SluiceEnd:
        # Each worker has a load of its own, and chance decides who gets the flood.
        return SluiceEnd(ENGINE[self.outer], workers=1)

    def test_sluice_gives_the_cookie_that_the_kernel_asks_for(self) -> None:
        self.start(begins="sluice")
        self.flood(self.wire.sluice, (KERNEL[self.outer], KERNEL_PORT), self.kernel.keys.public)
        until(lambda: self.ear.heard("kernel", COOKIE), "the kernel asks for cookies", PATIENCE)
        with Pinger(self.wire.sluice, KERNEL_INNER[4]) as pinger:
            self.assertTrue(pinger.ping())
            for _ in range(ATTEMPTS):
                if self.with_cookie("sluice", SLUICE):
                    break
                # There happened to be a calm moment.
                self.sluice.remove_peer(self.kernel.keys.public)
                self.sluice.set_peer(self.kernel_as_peer(known=True))
                self.assertTrue(pinger.ping())
        self.assertNotEqual(self.with_cookie("sluice", SLUICE), [])
        self.assertNotEqual(self.ear.heard("kernel", RESPONSE), [])

    def test_the_kernel_gives_the_cookie_that_sluice_asks_for(self) -> None:
        self.start(begins="kernel")
        self.flood(self.wire.kernel, (SLUICE[self.outer], SLUICE_PORT), self.sluice.keys.public)
        until(lambda: self.ear.heard("sluice", COOKIE), "Sluice asks for cookies", PATIENCE)
        with Pinger(self.wire.kernel, SLUICE_INNER[4]) as pinger:
            self.assertTrue(pinger.ping())
            for _ in range(ATTEMPTS):
                if self.with_cookie("kernel", KERNEL):
                    break
                self.kernel.remove_peer(self.sluice.keys.public)
                self.kernel.set_peer(self.sluice_as_peer(known=True))
                self.assertTrue(pinger.ping())
        self.assertNotEqual(self.with_cookie("kernel", KERNEL), [])
        self.log.await_line("Receiving cookie response", PATIENCE)

    def with_cookie(self, sender: str, addresses: dict[int, str]) -> list[Outer]:
        """Its own initiations with a second MAC, which only a cookie makes possible."""
        return [outer for outer in self.ear.heard(sender, INITIATION)
                if outer.source == addresses[self.outer] and outer.payload[-len(NO_COOKIE):] != NO_COOKIE]

    def flood(self, namespace: Namespace, target: tuple[str, int], public_key: str) -> None:
        """Until the test ends."""
        address = f"{STRANGER[self.outer]}/{BITS[self.outer]} dev {LINK}"
        # Not preferred: IPv6 would take the newest address for everything.
        ip(namespace, f"address add {address}" + (" nodad preferred_lft 0" if self.outer == 6 else ""))
        self.addCleanup(ip, namespace, f"address delete {address}")
        flood = Flood(namespace, self.outer, target, public_key)
        self.addCleanup(flood.end)
