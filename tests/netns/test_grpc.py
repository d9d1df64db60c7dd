"""gRPC from a client through TLS to a server without: streams in all directions, and how calls end."""

import json
import sys
from pathlib import Path

from harness.case import ServedTest, on_both_engines
from harness.network import Topology, authority
from harness.waiting import until

GRPC_PORT = 50051
ENDS = Path(__file__).parent / "harness" / "grpc_ends.py"


@on_both_engines
class Grpc(ServedTest):
    @classmethod
    def configure(cls, document) -> None:
        document["backends"].append({"name": "grpc", "protocol": "h2",
                                     "servers": [{"url": f"http://{authority(Topology.BACKEND, GRPC_PORT)}"}]})
        document["routes"].append({"name": "grpc", "hosts": ["grpc.wild.sluice.test"], "auth": "public",
                                   "backend": "grpc"})
        # In its own namespace, so the port is nobody else's.
        cls.topology.backend.start([sys.executable, "-B", str(ENDS), "server", Topology.BACKEND, str(GRPC_PORT)],
                                   cls.directory / "grpc-server")

        def listens() -> bool:
            try:
                cls.topology.backend.connect(Topology.BACKEND, GRPC_PORT).close()
            except ConnectionRefusedError:
                return False
            return True

        until(listens, "the gRPC server listens", seconds=60)

    def test_calls_of_all_kinds(self) -> None:
        output = self.topology.neighbour.run(
            sys.executable, "-B", str(ENDS), "client", authority(Topology.NODE, 3443),
            str(self.authority.certificate), "grpc.wild.sluice.test", seconds=300)
        seen = json.loads(output)
        self.assertEqual(seen, {
            "unary": "ABC",
            "large": True,
            "down": [str(number) for number in range(200)],
            "up": 500_000,
            "both": [f"m{number}"[::-1] for number in range(20)],
            "fails": ["FAILED_PRECONDITION", "not today", "because"],
            "unknown": "UNIMPLEMENTED",
        }, self.explain())
