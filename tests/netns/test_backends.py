"""Backends that are fine, and all the ways in which they are not."""

import collections
import time

from harness import cleanup
from harness.backend import Backend
from harness.case import PUBLIC, ServedTest, on_both_engines
from harness.network import Topology, authority
from harness.payload import Payload
from harness.waiting import until


@on_both_engines
class Backends(ServedTest):
    @classmethod
    def configure(cls, document) -> None:
        dead = cls.topology.backend.make_socket()
        cleanup.later(dead.close)
        dead.bind((Topology.BACKEND, 0))  # and does not listen: refused, and nobody else can have the port
        cls.heavy, cls.light = Backend(cls.topology.backend), Backend(cls.topology.backend)
        document["backends"][0]["response_timeout"] = "1s"
        document["backends"] += [
            {"name": "dead", "servers": [{"url": f"http://{authority(*dead.getsockname())}"}]},
            {"name": "unreachable", "connect_timeout": "1s",
             "servers": [{"url": f"http://{authority('192.168.78.99', 80)}"}]},
            {"name": "weighted", "servers": [{"url": cls.heavy.url, "weight": 3},
                                             {"url": cls.light.url, "weight": 1}]},
            {"name": "nginx", "servers": [{"url": f"http://{authority(Topology.BACKEND, 8080)}"}]},
            {"name": "welcome", "servers": [{"url": "builtin:welcome"}]},
        ]
        for name in ("dead", "unreachable", "weighted", "nginx", "welcome"):
            document["routes"].append({"name": name, "hosts": [f"{name}.wild.sluice.test"], "auth": "public",
                                       "backend": name})
        cls.start_nginx()

    @classmethod
    def start_nginx(cls) -> None:
        folder = cls.directory / "nginx"
        folder.mkdir()
        cls.directory.chmod(0o755)
        with (folder / "file").open("wb") as file:
            file.writelines(Payload(seed=8, size=20_000_000).chunks())
        (folder / "nginx.conf").write_text(f"""
            daemon off; user root; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
            events {{}}
            http {{
                access_log off;
                client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
                uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
                server {{ listen {Topology.BACKEND}:8080; root {folder}; }}
            }}""")
        # -e: it would else open the system's log before it reads the configuration.
        cls.topology.backend.start(["nginx", "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")],
                                   folder / "output")

        def listens() -> bool:
            try:
                cls.topology.backend.connect(Topology.BACKEND, 8080).close()
            except ConnectionRefusedError:
                return False
            return True

        until(listens, "nginx listens")

    def test_a_dead_backend_is_502(self) -> None:
        answer = self.neighbour.fetch("dead.wild.sluice.test")
        self.assertEqual(answer.status, 502, str(answer))

    def test_an_unreachable_backend_is_an_error_after_its_connect_timeout(self) -> None:
        answer = self.neighbour.fetch("unreachable.wild.sluice.test")
        self.assertIn(answer.status, (502, 504), str(answer))
        self.assertLess(answer.seconds, 5)

    def test_a_slow_backend_is_504_after_its_response_timeout(self) -> None:
        answer = self.neighbour.fetch(PUBLIC, "/slow?seconds=10")
        self.assertEqual(answer.status, 504, str(answer))
        self.assertGreater(answer.seconds, 0.9)
        self.assertLess(answer.seconds, 5)

    def test_a_backend_that_closes_without_an_answer_is_502(self) -> None:
        self.assertEqual(self.neighbour.fetch(PUBLIC, "/silent").status, 502)

    def test_an_answer_that_is_not_http_is_502_and_not_passed_on(self) -> None:
        answer = self.neighbour.fetch(PUBLIC, "/nonsense")
        self.assertEqual(answer.status, 502)
        self.assertNotIn(b"nothing that a proxy should pass on", answer.body)

    def test_a_body_that_ends_early_is_an_error_at_the_client_too(self) -> None:
        """The client must not take half a file for a whole one, and no later answer may be mixed up."""
        before = self.neighbour.fetch(PUBLIC, "/cut?size=100000")
        self.assertEqual(before.status, 200)
        self.assertNotEqual(before.error, "", "half a body was passed off as a whole one")
        self.assertEqual(before.body, b"".join(Payload(0, 100_000).chunks())[: len(before.body)])
        for _ in range(5):
            self.assertEqual(self.neighbour.fetch(PUBLIC, "/echo").status, 200)

    def test_a_failure_does_not_end_the_clients_connection(self) -> None:
        connection = self.neighbour.keep_alive("dead.wild.sluice.test")
        for _ in range(3):
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            self.assertEqual(answer.status, 502)
        connection.close()

    def test_a_head_request_has_a_length_and_no_body(self) -> None:
        answer = self.neighbour.fetch(PUBLIC, "/stream?size=5000", options=["--head"])
        self.assertEqual((answer.status, answer.headers["content-length"], answer.body), (200, "5000", b""))

    def test_weights_share_the_requests(self) -> None:
        connection = self.neighbour.keep_alive("weighted.wild.sluice.test")
        for _ in range(40):
            connection.request("GET", "/echo")
            connection.getresponse().read()
        connection.close()
        shares = collections.Counter(heavy=self.heavy.requests["/echo"], light=self.light.requests["/echo"])
        self.assertEqual(shares, {"heavy": 30, "light": 10})

    def test_nginx_serves_a_file_and_a_range_of_it(self) -> None:
        payload = Payload(seed=8, size=20_000_000)
        download = self.neighbour.download("nginx.wild.sluice.test", "/file")
        self.assertEqual(download.finish(), payload.sha256())
        answer = self.neighbour.fetch("nginx.wild.sluice.test", "/file", options=["--range", "1000-1999"])
        self.assertEqual((answer.status, answer.body), (206, next(payload.chunks())[1000:2000]))

    def test_the_welcome_page_needs_no_backend(self) -> None:
        answer = self.neighbour.fetch("welcome.wild.sluice.test")
        self.assertEqual(answer.status, 200, str(answer))
        self.assertIn("Sluice", answer.body.decode())

    def test_a_backend_that_comes_back_is_used_again(self) -> None:
        back = Backend(self.topology.backend)
        port = back.port
        self.node.document["backends"].append({"name": "phoenix", "servers": [{"url": back.url}]})
        self.node.document["routes"].append({"name": "phoenix", "hosts": ["phoenix.wild.sluice.test"],
                                             "auth": "public", "backend": "phoenix"})
        self.node.write()
        self.assertEqual(self.node.reload().returncode, 0)
        fetch = lambda: self.neighbour.fetch("phoenix.wild.sluice.test", "/echo").status  # noqa: E731
        self.assertEqual(fetch(), 200)
        back.close()
        self.assertEqual(until(lambda: fetch() != 200, "the dead backend is noticed"), True)
        self.assertEqual(fetch(), 502)
        Backend(self.topology.backend, port=port)
        started = time.monotonic()
        until(lambda: fetch() == 200, "the backend is used again")
        self.assertLess(time.monotonic() - started, 5)
