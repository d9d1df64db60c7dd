"""A stub of an OpenID Connect provider: whoever asks is signed in as one user (OpenID Connect Core 1.0)."""

import base64
import json
import secrets
import time
from pathlib import Path

from . import processes, rawhttp
from .network import Namespace
from .rawhttp import Reply, Seen


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class IdentityProvider:
    def __init__(self, namespace: Namespace, directory: Path, *, client: str, user: str, mail: str):
        self._key = directory / "identity.key"
        processes.run(["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048",
                       "-out", str(self._key)])
        self._client, self._user, self._mail = client, user, mail
        self._nonces: dict[str, str | None] = {}  # by code
        self._server = rawhttp.Server(namespace, answer=self._answer)
        self.url = self._server.url

    def sign_in(self, nonce: str | None) -> str:
        """What the user's browser would bring back: a code."""
        code = secrets.token_hex(8)
        self._nonces[code] = nonce
        return code

    def _answer(self, seen: Seen) -> Reply:
        path = seen.target.partition("?")[0]
        if path == "/.well-known/openid-configuration":
            return _json({"issuer": self.url, "authorization_endpoint": f"{self.url}/authorize",
                          "token_endpoint": f"{self.url}/token", "jwks_uri": f"{self.url}/keys",
                          "id_token_signing_alg_values_supported": ["RS256"], "subject_types_supported": ["public"],
                          "response_types_supported": ["code"]})
        if path == "/keys":
            modulus = processes.run(["openssl", "rsa", "-in", str(self._key), "-noout", "-modulus"])
            number = bytes.fromhex(modulus.strip().removeprefix("Modulus="))
            return _json({"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "e": "AQAB",
                                    "n": _encoded(number)}]})
        if path == "/token":
            form = dict(pair.split("=", 1) for pair in seen.body.decode().split("&"))
            return _json({"access_token": secrets.token_hex(8), "token_type": "Bearer", "expires_in": 3600,
                          "id_token": self._token(self._nonces.pop(form["code"]))})
        return Reply(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def _token(self, nonce: str | None) -> str:
        now = int(time.time())
        claims = {"iss": self.url, "aud": self._client, "sub": self._user, "email": self._mail,
                  "email_verified": True, "iat": now, "exp": now + 3600}
        if nonce is not None:
            claims["nonce"] = nonce
        parts = [{"alg": "RS256", "typ": "JWT", "kid": "1"}, claims]
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in parts)
        signature = self._key.with_suffix(".signature")
        processes.run(["openssl", "dgst", "-sha256", "-sign", str(self._key), "-out", str(signature)], stdin=signed)
        return f"{signed}.{_encoded(signature.read_bytes())}"


def _json(value: dict) -> Reply:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return Reply(head.encode() + body)
