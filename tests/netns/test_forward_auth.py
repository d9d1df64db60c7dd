"""Forward-auth: a scripted auth service in every mood, and a real one with a stub of an identity provider."""

import base64
import contextlib
import json
import threading
import unittest
from urllib.parse import parse_qs, urlencode, urlsplit

from harness import cleanup, rawhttp
from harness.case import ServedTest, on_both_engines
from harness.identity import IdentityProvider
from harness.implementations import find_program
from harness.network import Topology, authority
from harness.rawhttp import Reply, Seen, one
from harness.waiting import until

HOST = "guarded.wild.sluice.test"
BODY_HOST = "body.wild.sluice.test"
SIGNIN_HOST = "signin.wild.sluice.test"
NAMED_HOST = "named.wild.sluice.test"
SLOW_HOST = "slow.wild.sluice.test"
DOWN_HOST = "down.wild.sluice.test"
YES = Reply(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")


def answer(status: int, *lines: str, body: bytes = b"") -> Reply:
    head = "\r\n".join([f"HTTP/1.1 {status} X", *lines, f"Content-Length: {len(body)}", "", ""])
    return Reply(head.encode() + body)


class Guarded(ServedTest):
    """A scripted auth service and a backend, both read strictly."""

    @classmethod
    def configure(cls, document) -> None:
        cls.mood = lambda seen: YES
        cls.auth = rawhttp.Server(cls.topology.backend, answer=lambda seen: cls.mood(seen))
        cls.server = rawhttp.Server(cls.topology.backend)
        dead = cls.topology.backend.make_socket()
        cleanup.later(dead.close)
        dead.bind((Topology.BACKEND, 0))  # and does not listen
        service = {"address": f"{cls.auth.url}/auth?from=sluice", "timeout": "60s",
                   "response_headers": ["X-Auth-Request-User", "X-Auth-Request-Email"]}
        document["forward_auth"] = [
            {"name": "plain", **service, "response_cookies": ["session"]},
            {"name": "body", **service, "forward_body": 100, "preserve_method": True},
            {"name": "signin", **service, "signin_url": "https://login.test/start"},
            {"name": "named", **service, "request_headers": ["Cookie"]},
            {"name": "slow", **service, "timeout": "1s"},
            {"name": "down", **service, "address": f"http://{authority(*dead.getsockname())}/auth"},
        ]
        document["backends"].append({"name": "server", "servers": [{"url": cls.server.url}]})
        for host, name in ((HOST, "plain"), (BODY_HOST, "body"), (SIGNIN_HOST, "signin"), (NAMED_HOST, "named"),
                           (SLOW_HOST, "slow"), (DOWN_HOST, "down")):
            document["routes"].append({"name": name, "hosts": [host], "auth": "tailscale-bypass",
                                       "forward_auth": name, "backend": "server"})

    def setUp(self) -> None:
        super().setUp()
        type(self).mood = lambda seen: YES
        self.auth.seen.clear()
        self.server.seen.clear()

    def ask(self, host: str = HOST, *lines: str, method: str = "GET", path: str = "/a?b", body: bytes = b"",
            site=None) -> rawhttp.Response | None:
        """One request on a connection of its own."""
        stream = (site or self.neighbour).tls(host, seconds=60)
        with contextlib.closing(rawhttp.Client(stream)) as client:
            head = "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", ""])
            client.send(head.encode() + body)
            return client.response(to=method)

    def say(self, reply: Reply) -> None:
        type(self).mood = lambda seen: reply

    def assert_refused(self, response: rawhttp.Response | None, *statuses: int) -> None:
        self.assertIsNotNone(response)
        self.assertIn(response.status, statuses, str(response))
        self.assertEqual(self.server.seen, [], "the backend was asked all the same")


@on_both_engines
class ForwardAuth(Guarded):
    def test_the_question_is_traefiks(self) -> None:
        self.assertEqual(self.ask(HOST, "Cookie: a=b", "X-Forwarded-For: 1.2.3.4", "X_Forwarded_Uri: /forged",
                                  "X-Forwarded-Method: PUT", "Upgrade: h2c", "Connection: X-Mine",
                                  "X-Mine: 1").status, 200)
        (seen,) = self.auth.seen
        self.assertEqual((seen.method, seen.target, seen.body), ("GET", "/auth?from=sluice", b""))
        told = {name.lower(): value for name, value in seen.fields}
        self.assertEqual(told, {
            "host": self.auth.url.removeprefix("http://"), "cookie": "a=b",
            "x-forwarded-for": Topology.NEIGHBOUR, "x-real-ip": Topology.NEIGHBOUR,
            "x-forwarded-proto": "https", "x-forwarded-host": HOST,
            "x-forwarded-port": "443", "x-forwarded-method": "GET", "x-forwarded-uri": "/a?b"})

    def test_only_named_headers_reach_the_service(self) -> None:
        self.assertEqual(self.ask(NAMED_HOST, "Cookie: a=b", "Authorization: Basic x").status, 200)
        self.assertEqual(self.auth.seen[0].values("Cookie"), ["a=b"])
        self.assertEqual(self.auth.seen[0].values("Authorization"), [])
        self.assertEqual(self.server.seen[0].values("Authorization"), ["Basic x"])

    def test_what_it_says_of_the_user_replaces_what_the_client_says(self) -> None:
        self.say(answer(200, "X-Auth-Request-User: ann", "X-Unlisted: no", "Set-Cookie: session=new",
                        "Set-Cookie: other=1", body=b"OK"))
        self.server.replies["/a"] = answer(200, "Set-Cookie: session=old", "Set-Cookie: mine=1")
        self.addCleanup(self.server.replies.clear)
        response = self.ask(HOST, "X-Auth-Request-User: forged", "x_auth_request_user: forged",
                            "X-Auth_Request-Email: forged", "X-Auth-Request-Email: forged")
        self.assertEqual(response.status, 200)
        (seen,) = self.server.seen
        self.assertEqual(seen.values("X-Auth-Request-User"), ["ann"])
        self.assertNotIn("forged", json.dumps(seen.fields))
        self.assertEqual(seen.values("X-Unlisted"), [])
        self.assertEqual(sorted(rawhttp.values(response.fields, "Set-Cookie")), ["mine=1", "session=new"])

    def test_its_refusals_reach_the_client_as_they_are(self) -> None:
        for status in (400, 401, 403, 404, 429, 500, 503):
            with self.subTest(status):
                self.say(answer(status, "WWW-Authenticate: Basic", "Set-Cookie: a=1", "Set-Cookie: b=2",
                                body=b"because"))
                response = self.ask()
                self.assert_refused(response, status)
                self.assertEqual(response.body, b"because")
                self.assertEqual(rawhttp.values(response.fields, "Set-Cookie"), ["a=1", "b=2"])
                self.assertEqual(one(response.fields, "WWW-Authenticate"), "Basic")

    def test_redirects_are_passed_back(self) -> None:
        for location, expected in (("https://login.test/?rd=x", "https://login.test/?rd=x"),
                                   ("/start", f"{self.auth.url}/start")):
            with self.subTest(location):
                self.say(answer(302, f"Location: {location}", "Set-Cookie: csrf=1"))
                response = self.ask()
                self.assert_refused(response, 302)
                self.assertEqual(one(response.fields, "Location"), expected)
                self.assertEqual(one(response.fields, "Set-Cookie"), "csrf=1")

    def test_401_leads_to_the_sign_in_page(self) -> None:
        self.say(answer(401, body=b"no"))
        response = self.ask(SIGNIN_HOST)
        self.assert_refused(response, 302)
        self.assertEqual(one(response.fields, "Location"), "https://login.test/start")
        self.say(answer(403, body=b"no"))
        self.assert_refused(self.ask(SIGNIN_HOST), 403)

    def test_a_service_that_is_down(self) -> None:
        self.assert_refused(self.ask(DOWN_HOST), 502)
        self.assertEqual(self.ask(DOWN_HOST, site=self.inside).status, 200, "peers do not need it")

    def test_garbage_for_an_answer(self) -> None:
        for garbage in (b"\x00\x01\x02 no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
                        b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
                        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", b""):
            with self.subTest(garbage[:40]):
                self.say(Reply(garbage, close=True))
                self.assert_refused(self.ask(), 502)

    def test_an_answer_that_breaks_off(self) -> None:
        self.say(Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nO", close=True))
        self.assert_refused(self.ask(), 502)

    def test_a_huge_answer(self) -> None:
        self.say(Reply(b"HTTP/1.1 403 No\r\nContent-Length: 1000000\r\n\r\n" + bytes(100_000), close=True))
        self.assert_refused(self.ask(), 502)

    def test_a_slow_service(self) -> None:
        release = threading.Event()
        self.addCleanup(release.set)

        def slowly(seen: Seen) -> Reply:
            release.wait(60)
            return YES

        type(self).mood = slowly
        self.assert_refused(self.ask(SLOW_HOST), 504)

    def test_connections_are_kept(self) -> None:
        self.assertEqual(self.ask().status, 200)
        before = self.auth.connections
        for _ in range(20):
            self.assertEqual(self.ask().status, 200)
        # One for each worker at most, besides the first.
        self.assertLessEqual(self.auth.connections, before + 2)
        self.assertEqual(len(self.auth.seen), 21)

    def test_the_body_is_its_business_only_where_it_is_wanted(self) -> None:
        response = self.ask(HOST, "Content-Length: 5", method="POST", body=b"hello")
        self.assertEqual(response.status, 200)
        self.assertEqual((self.auth.seen[0].method, self.auth.seen[0].body), ("GET", b""))
        self.assertEqual((self.server.seen[0].method, self.server.seen[0].body), ("POST", b"hello"))
        for lines, body in ((["Content-Length: 5"], b"hello"),
                            (["Transfer-Encoding: chunked"], b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")):
            with self.subTest(lines[0]):
                self.auth.seen.clear()
                self.server.seen.clear()
                self.assertEqual(self.ask(BODY_HOST, *lines, method="POST", body=body).status, 200)
                self.assertEqual((self.auth.seen[0].method, self.auth.seen[0].body), ("POST", b"hello"))
                self.assertEqual((self.server.seen[0].method, self.server.seen[0].body), ("POST", b"hello"))

    def test_a_body_that_is_too_large_for_it(self) -> None:
        self.assert_refused(self.ask(BODY_HOST, "Content-Length: 101", method="POST", body=bytes(101)), 413)
        self.assert_refused(self.ask(BODY_HOST, "Transfer-Encoding: chunked", method="POST",
                                     body=b"65\r\n" + bytes(101) + b"\r\n0\r\n\r\n"), 413)
        self.assertEqual(self.auth.seen, [])

    def test_peers_pass_without_a_question(self) -> None:
        self.say(answer(403))
        response = self.ask(HOST, "X-Auth-Request-User: forged", "X-Sluice-Peer: forged", site=self.inside)
        self.assertEqual(response.status, 200)
        self.assertEqual(self.auth.seen, [])
        self.assertEqual(self.server.seen[0].values("X-Sluice-Peer"), ["phone"])
        self.assertEqual(self.server.seen[0].values("X-Auth-Request-User"), [])
        self.assert_refused_outside()

    def assert_refused_outside(self) -> None:
        self.server.seen.clear()
        self.assert_refused(self.ask(), 403)


class OauthProxy(ServedTest):
    """oauth2-proxy as its manual sets it up behind a proxy, with a stub of an identity provider."""

    PROGRAM = find_program("oauth2-proxy", "SLUICE_OAUTH2_PROXY")
    USER, MAIL = "user-7", "ann@mail.test"

    @classmethod
    def setUpClass(cls) -> None:
        program, reason = cls.PROGRAM
        if program is None:
            raise unittest.SkipTest(reason)
        super().setUpClass()

    @classmethod
    def configure(cls, document) -> None:
        cls.provider = IdentityProvider(cls.topology.backend, cls.directory, client="sluice", user=cls.USER,
                                        mail=cls.MAIL)
        cls.server = rawhttp.Server(cls.topology.backend)
        with cls.topology.backend.make_socket() as free:
            free.bind((Topology.BACKEND, 0))
            address = authority(*free.getsockname())
        cls.proxy = cls.topology.backend.start([
            cls.PROGRAM[0], "--provider=oidc", f"--oidc-issuer-url={cls.provider.url}", "--client-id=sluice",
            "--client-secret=secret", f"--cookie-secret={base64.b64encode(bytes(range(32))).decode()}",
            "--email-domain=*", "--reverse-proxy=true", "--upstream=static://202", f"--http-address={address}",
            "--set-xauthrequest=true", "--skip-provider-button=true",
            f"--redirect-url=https://{HOST}:3443/oauth2/callback"], cls.directory / "oauth2-proxy.log")

        until(lambda: cls.listens(address), "oauth2-proxy listens", 60)
        document["forward_auth"] = [{
            "name": "oauth", "address": f"http://{address}/oauth2/auth", "timeout": "60s",
            "signin_url": "/oauth2/start", "response_headers": ["X-Auth-Request-User", "X-Auth-Request-Email"]}]
        document["backends"] += [{"name": "server", "servers": [{"url": cls.server.url}]},
                                 {"name": "oauth", "servers": [{"url": f"http://{address}"}]}]
        document["routes"] += [
            {"name": "guarded", "hosts": [HOST], "auth": "tailscale-bypass", "forward_auth": "oauth",
             "backend": "server"},
            {"name": "sign-in", "hosts": [HOST], "path_prefix": "/oauth2", "auth": "public", "backend": "oauth"}]

    @classmethod
    def listens(cls, address: str) -> bool:
        if cls.proxy.exit_code() is not None:
            raise AssertionError(f"oauth2-proxy ended: {cls.proxy.output()}")
        host, _, port = address.rpartition(":")
        try:
            cls.topology.backend.connect(host, int(port)).close()
        except ConnectionRefusedError:
            return False
        return True

    def get(self, path: str, cookies: dict[str, str]) -> rawhttp.Response:
        """As a browser: cookies are sent along, and kept."""
        lines = [f"Cookie: {'; '.join(f'{name}={value}' for name, value in cookies.items())}"] if cookies else []
        with contextlib.closing(rawhttp.Client(self.neighbour.tls(HOST, seconds=60))) as client:
            client.send("\r\n".join([f"GET {path} HTTP/1.1", f"Host: {HOST}:3443", "X-Auth-Request-User: forged",
                                     *lines, "", ""]).encode())
            response = client.response()
        self.assertIsNotNone(response)
        for cookie in rawhttp.values(response.fields, "Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            cookies[name] = value
        return response

    def location(self, response: rawhttp.Response) -> str:
        self.assertEqual(response.status, 302, str(response))
        return one(response.fields, "Location")

    def test_the_whole_way_of_signing_in(self) -> None:
        cookies: dict[str, str] = {}
        self.assertEqual(self.location(self.get("/page", cookies)), "/oauth2/start")
        asked = urlsplit(self.location(self.get("/oauth2/start?rd=/page", cookies)))
        self.assertEqual(f"{asked.scheme}://{asked.netloc}", self.provider.url)
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        code = self.provider.sign_in(query.get("nonce"))
        back = urlsplit(query["redirect_uri"])
        answer = urlencode({"code": code, "state": query["state"]})
        self.assertEqual(self.location(self.get(f"{back.path}?{answer}", cookies)), "/page")
        self.assertEqual(self.server.seen, [])

        self.assertEqual(self.get("/page", cookies).status, 200)
        (seen,) = self.server.seen
        self.assertEqual(seen.values("X-Auth-Request-User"), [self.USER])
        self.assertEqual(seen.values("X-Auth-Request-Email"), [self.MAIL])

        # A cookie that was tampered with is none.
        (name,) = [name for name in cookies if name == "_oauth2_proxy"]
        cookies[name] = cookies[name][:-6] + "AAAAAA"
        self.assertEqual(self.get("/page", dict(cookies)).status, 302)
        self.assertEqual(len(self.server.seen), 1)
        self.proxy.end()
        self.assertEqual(self.get("/page", cookies).status, 502)
