"""WebSocket through the node, between a real client and a real server (python3-websockets)."""

import asyncio
import hashlib
import itertools
import ssl
import threading
from http import HTTPStatus

import websockets
from harness import cleanup, web
from harness.case import PORT, PUBLIC, ServedTest, on_both_engines
from harness.network import Namespace, Topology, authority
from harness.payload import Payload
from harness.waiting import until

HOST = "socket.wild.sluice.test"
_numbers = itertools.count()
SECONDS = 120  # for whatever has to happen; a busy machine needs a part of it


class Server:
    """What it does depends on the path; `ended` holds the code with which a connection ended, by its path and query."""

    def __init__(self, namespace: Namespace):
        self.ended: dict[str, int | None] = {}
        self._listener = namespace.make_socket()
        self._listener.bind((Topology.BACKEND, 0))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        started = threading.Event()
        self._loop.call_soon(started.set)
        self._thread.start()
        cleanup.later(self.close)
        assert started.wait(SECONDS)
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(SECONDS)

    @property
    def url(self) -> str:
        return f"http://{authority(*self._listener.getsockname())}"

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)
        self._listener.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _serve(self) -> None:
        await websockets.serve(self._talk, sock=self._listener, max_size=None, ping_interval=None,
                               process_request=self._may_begin, close_timeout=SECONDS)

    async def _may_begin(self, path: str, headers: object) -> tuple | None:
        return (HTTPStatus.FORBIDDEN, [], b"not you\n") if path.startswith("/refused") else None

    async def _talk(self, connection: websockets.WebSocketServerProtocol) -> None:
        try:
            await getattr(self, "_does_" + connection.path[1:].split("?")[0])(connection)
            await connection.wait_closed()
        except websockets.ConnectionClosed:
            pass
        finally:
            self.ended[connection.path] = connection.close_code

    async def _does_echo(self, connection: websockets.WebSocketServerProtocol) -> None:
        async for message in connection:
            await connection.send(message)

    async def _does_digest(self, connection: websockets.WebSocketServerProtocol) -> None:
        async for message in connection:
            await connection.send(f"{len(message)} {hashlib.sha256(message).hexdigest()}")

    async def _does_large(self, connection: websockets.WebSocketServerProtocol) -> None:
        async for message in connection:
            size, seed = (int(word) for word in message.split())
            await connection.send(b"".join(Payload(seed=seed, size=size).chunks()))

    async def _does_leave(self, connection: websockets.WebSocketServerProtocol) -> None:
        await connection.recv()
        await connection.close(4321, "that is all")

    async def _does_break(self, connection: websockets.WebSocketServerProtocol) -> None:
        await connection.recv()
        connection.transport.abort()


class SocketTest(ServedTest):
    @classmethod
    def configure(cls, document) -> None:
        cls.server = Server(cls.topology.backend)
        document["backends"].append({"name": "sockets", "servers": [{"url": cls.server.url}]})
        document["routes"].append({"name": "sockets", "hosts": [HOST], "auth": "public", "backend": "sockets"})

    def open(self, path: str, site: web.Site | None = None):
        """A connection whose path and query no other one has."""
        plain = (site or self.neighbour).plain(seconds=SECONDS)
        plain.setblocking(False)
        context = ssl.create_default_context(cafile=self.authority.certificate)
        return websockets.connect(f"wss://{HOST}:{PORT}{path}?{next(_numbers)}", sock=plain, ssl=context, server_hostname=HOST,
                                  max_size=None, ping_interval=None, open_timeout=SECONDS, close_timeout=SECONDS)

    def play(self, scene):
        return asyncio.run(asyncio.wait_for(scene, SECONDS))

    def assert_ended(self, connection: websockets.WebSocketClientProtocol, code: int) -> None:
        until(lambda: connection.path in self.server.ended, "the server's end of the connection", SECONDS)
        self.assertEqual(self.server.ended[connection.path], code)


@on_both_engines
class Websocket(SocketTest):
    def test_echo_through_the_tunnel_and_beside_it(self) -> None:
        async def scene(site: web.Site):
            async with self.open("/echo", site) as connection:
                for message in ("", "hello", "é" * 1000, b"\x00\xff" * 40000):
                    await connection.send(message)
                    self.assertEqual(await connection.recv(), message)
                await (await connection.ping())
            return connection

        for site in (self.inside, self.neighbour):
            self.assert_ended(self.play(scene(site)), 1000)

    def test_large_messages_arrive_as_they_were_sent(self) -> None:
        up, down = Payload(seed=31, size=20_000_003), Payload(seed=32, size=20_000_001)

        async def upload() -> None:
            async with self.open("/digest") as connection:
                await connection.send(b"".join(up.chunks()))
                self.assertEqual(await connection.recv(), f"{up.size} {up.sha256()}")
                await connection.send(up.chunks())  # the same in many frames
                self.assertEqual(await connection.recv(), f"{up.size} {up.sha256()}")

        async def download() -> None:
            async with self.open("/large") as connection:
                await connection.send(f"{down.size} 32")
                self.assertEqual(hashlib.sha256(await connection.recv()).hexdigest(), down.sha256())

        async def both() -> None:
            await asyncio.gather(upload(), download())

        self.play(both())

    def test_the_reason_of_an_end_reaches_the_other_side(self) -> None:
        async def by_client():
            connection = await self.open("/echo")
            await connection.close(4000, "enough")
            return connection

        async def by_server():
            connection = await self.open("/leave")
            await connection.send("go")
            await connection.wait_closed()
            self.assertEqual((connection.close_code, connection.close_reason), (4321, "that is all"))
            return connection

        self.assert_ended(self.play(by_client()), 4000)
        self.assert_ended(self.play(by_server()), 4321)

    def test_a_side_that_breaks_off_is_missed_by_the_other(self) -> None:
        async def server():
            connection = await self.open("/break")
            await connection.send("go")
            await connection.wait_closed()
            self.assertEqual(connection.close_code, 1006)
            return connection

        async def client():
            connection = await self.open("/echo")
            connection.transport.abort()
            await connection.wait_closed()
            return connection

        self.assert_ended(self.play(server()), 1006)
        self.assert_ended(self.play(client()), 1006)
        self.assert_serves()

    def test_a_refused_handshake_is_an_answer(self) -> None:
        async def scene() -> None:
            with self.assertRaises(websockets.InvalidStatusCode) as refused:
                await self.open("/refused")
            self.assertEqual(refused.exception.status_code, 403)

        self.play(scene())
        self.assert_serves()


@on_both_engines
class WebsocketDrain(SocketTest):
    def test_a_drain_tells_both_sides_and_ends(self) -> None:
        async def scene():
            connection = await self.open("/echo")
            await connection.send("here")
            self.assertEqual(await connection.recv(), "here")
            drained = await asyncio.get_running_loop().run_in_executor(None, self.node.command, "drain")
            self.assertEqual(drained.returncode, 0, drained.stderr)
            await connection.wait_closed()
            self.assertEqual(connection.close_code, 1001)
            return connection

        self.assert_ended(self.play(scene()), 1001)
        self.assertEqual(self.node.process.wait(SECONDS), 0, self.node.tail())
        self.node.assert_no_complaint()

    @classmethod
    def tearDownClass(cls) -> None:
        pass  # the node has ended
