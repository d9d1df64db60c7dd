"""Programs on the node that want to reach somebody who is not there are told so, and at once."""

import errno
import subprocess

from harness.case import SystemTest, client_as_peer, on_both_engines
from harness.network import Topology
from harness.waiting import until

NOBODY, NOBODY6 = "10.98.0.77", "fd98::77"  # inside the node's own prefixes, of no peer

# Longer than any machine takes to answer, shorter than the kernel's own end of a connection attempt.
SECONDS = 60


@on_both_engines
class Unreachable(SystemTest):
    """A peer that has no endpoint yet, and addresses that belong to no peer."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.node_keys()
        cls.node = cls.make_node(cls.make_configuration(client_as_peer(cls.make_client())))
        cls.node.start()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.node.stop()

    def test_ping_says_who_cannot_be_reached(self) -> None:
        for address in (NOBODY, Topology.CLIENT_INNER):
            self.assert_ping(address, "Destination Host Unreachable")
        for address in (NOBODY6, Topology.CLIENT_INNER6):
            self.assert_ping(address, "Address unreachable")

    def assert_ping(self, address: str, message: str) -> None:
        ping = self.topology.node.popen(["ping", "-c", "1", "-W", str(SECONDS), address],
                                        stdout=subprocess.PIPE, text=True)
        output, _ = ping.communicate(timeout=2 * SECONDS)
        self.assertIn(message, output, f"{address}\n{self.node.tail()}")

    def test_a_connection_fails_and_does_not_hang(self) -> None:
        for address in (NOBODY, NOBODY6, Topology.CLIENT_INNER, Topology.CLIENT_INNER6):
            with self.assertRaises(OSError, msg=address) as failure:
                self.topology.node.connect(address, 80, seconds=SECONDS).close()
            # Not the time-out that silence would end in.
            self.assertEqual(failure.exception.errno, errno.EHOSTUNREACH, f"{address}\n{self.node.tail()}")

    def test_what_is_dropped_and_what_is_told_are_counted(self) -> None:
        self.assert_ping(NOBODY, "Destination Host Unreachable")
        self.assert_ping(Topology.CLIENT_INNER, "Destination Host Unreachable")

        def counted() -> bool:
            _, workers = self.node.ask("/v1/workers")
            drops = [worker["drops"] for worker in workers["workers"]]
            return (sum(worker["inner_errors_sent"] for worker in workers["workers"]) >= 2
                    and sum(each.get("inner_no_peer", 0) for each in drops) >= 1
                    and sum(each.get("inner_no_endpoint", 0) for each in drops) >= 1)
        until(counted, "the drops and the messages are in the report")
