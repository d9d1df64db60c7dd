"""The test cases that the files here are made of."""

import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, ClassVar

from . import cleanup, node, web
from .backend import Backend
from .network import Namespace, Topology
from .node import Node
from .pki import Authority
from .wireguard import KeyPair, Peer, WireguardClient

PORT = 3443
TUNNEL, PUBLIC = "inside.sluice.test", "outside.sluice.test"  # tailscale-only and public, one backend


def on_both_engines(case: type) -> None:
    """Makes a test class for each I/O engine out of one; its `engine` says which."""
    for engine, suffix in (("io_uring", "IoUring"), ("epoll", "Epoll")):
        made = type(case.__name__ + suffix, (case,),
                    {"engine": engine, "__module__": case.__module__, "__doc__": case.__doc__})
        setattr(sys.modules[case.__module__], made.__name__, made)


class SystemTest(unittest.TestCase):
    """A network with a backend, for all tests of a class; everything is undone after the class."""

    engine: ClassVar[str] = "auto"
    alone: ClassVar[bool] = False  # it measures, so nothing else may run meanwhile
    topology: ClassVar[Topology]
    directory: ClassVar[Path]
    authority: ClassVar[Authority]
    backend: ClassVar[Backend]
    certificate: ClassVar[tuple[Path, Path]]

    @classmethod
    def setUpClass(cls) -> None:
        if cls.engine == "io_uring" and not node.has_io_uring():
            raise unittest.SkipTest("this machine allows no io_uring")
        cls.addClassCleanup(cleanup.undo_to, cleanup.mark())
        directory = tempfile.TemporaryDirectory(prefix="sluice-netns-")
        cleanup.later(directory.cleanup)
        cls.directory = Path(directory.name)
        cls.topology = Topology()
        cls.authority = Authority(cls.directory)
        cls.certificate = cls.authority.issue("server", [TUNNEL, PUBLIC, "*.wild.sluice.test"])
        cls.backend = Backend(cls.topology.backend)

    def setUp(self) -> None:
        # What a test adds goes when it ends; what its class made stays for the next.
        self.addCleanup(cleanup.undo_to, cleanup.mark())

    @classmethod
    def make_configuration(cls, *peers: dict[str, Any]) -> dict[str, Any]:
        """TUNNEL (tailscale-only) and PUBLIC, both to the scripted backend."""
        document = node.configuration(engine=cls.engine, private_key_file=cls.directory / "node.key",
                                      certificate=cls.certificate,
                                      hosts=[TUNNEL, PUBLIC, "*.wild.sluice.test"])
        document["wireguard"]["peers"] = list(peers)
        document["routes"] = [
            {"name": "inside", "hosts": [TUNNEL], "auth": "tailscale-only", "backend": "scripted"},
            {"name": "outside", "hosts": [PUBLIC], "auth": "public", "backend": "scripted"},
        ]
        document["backends"] = [{"name": "scripted", "servers": [{"url": cls.backend.url}]}]
        return document

    @classmethod
    def make_node(cls, document: dict[str, Any]) -> Node:
        return Node(cls.topology.node, cls.directory, document)

    @classmethod
    def node_keys(cls) -> KeyPair:
        """The node's key, made here, so that a client can be told before the node runs."""
        path = cls.directory / "node.key"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(KeyPair.make().private + "\n")
        return KeyPair.of(path.read_text().strip())

    @classmethod
    def make_client(cls, **options: Any) -> WireguardClient:
        return WireguardClient(cls.topology.client, cls.directory, **options)

    @classmethod
    def node_as_peer(cls, *, endpoint: str | None = f"{Topology.NODE}:{Topology.WIREGUARD_PORT}",
                     **options: Any) -> Peer:
        """What a client is told about the node."""
        return Peer(cls.node_keys().public, [f"{Topology.NODE_INNER}/32", f"{Topology.NODE_INNER6}/128"],
                    endpoint=endpoint, **options)

    @classmethod
    def site(cls, namespace: Namespace, address: str) -> web.Site:
        return web.Site(namespace, address, PORT, cls.authority)


class ServedTest(SystemTest):
    """Also with a node that runs and a client whose tunnel is up, for all tests of the class."""

    node: ClassVar[Node]
    client: ClassVar[WireguardClient]
    inside: ClassVar[web.Site]      # the client, through the tunnel
    neighbour: ClassVar[web.Site]   # beside it

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.client = cls.make_client()
        cls.node_keys()
        cls.node = cls.make_node(cls.make_configuration(client_as_peer(cls.client)))
        cls.configure(cls.node.document)
        cls.node.start()
        cls.client.up(cls.node_as_peer())
        cls.inside = cls.site(cls.topology.client, Topology.NODE_INNER)
        cls.neighbour = cls.site(cls.topology.neighbour, Topology.NODE)

    @classmethod
    def configure(cls, document: dict[str, Any]) -> None:
        """For a class that wants another configuration."""

    @classmethod
    def tearDownClass(cls) -> None:
        # Whatever the tests did, the node still has to be there, to be silent and to end in order.
        cls.node.stop()

    def assert_serves(self) -> None:
        """Both ways in still work."""
        for site, host in ((self.inside, TUNNEL), (self.neighbour, PUBLIC)):
            answer = site.fetch(host, "/echo")
            self.assertEqual(answer.status, 200, f"{host}: {answer}")

    def explain(self) -> str:
        return f"the node's last words:\n{self.node.tail()}"


def client_as_peer(client: WireguardClient, **options: Any) -> dict[str, Any]:
    """What the node is told about a client."""
    return {"name": "phone", "public_key": client.keys.public,
            "allowed_ips": [f"{Topology.CLIENT_INNER}/32", f"{Topology.CLIENT_INNER6}/128"], **options}
