"""A TLS client on OpenSSL itself, because Python's module cannot change keys or name a cipher of TLS 1.3."""

import ctypes
import socket

from ends import PATIENCE

_ssl = ctypes.CDLL("libssl.so.3")
_crypto = ctypes.CDLL("libcrypto.so.3")
for _name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
    getattr(_ssl, _name).restype = ctypes.c_void_p
for _name, _kinds in {
    "SSL_CTX_new": [ctypes.c_void_p], "SSL_CTX_free": [ctypes.c_void_p], "SSL_new": [ctypes.c_void_p],
    "SSL_free": [ctypes.c_void_p], "SSL_set_fd": [ctypes.c_void_p, ctypes.c_int],
    "SSL_CTX_ctrl": [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p],
    "SSL_ctrl": [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p],
    "SSL_CTX_set_cipher_list": [ctypes.c_void_p, ctypes.c_char_p],
    "SSL_CTX_set_ciphersuites": [ctypes.c_void_p, ctypes.c_char_p],
    "SSL_set_alpn_protos": [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint],
    "SSL_connect": [ctypes.c_void_p], "SSL_do_handshake": [ctypes.c_void_p], "SSL_shutdown": [ctypes.c_void_p],
    "SSL_read": [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int],
    "SSL_write": [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int],
    "SSL_key_update": [ctypes.c_void_p, ctypes.c_int], "SSL_get_error": [ctypes.c_void_p, ctypes.c_int],
}.items():
    getattr(_ssl, _name).argtypes = _kinds
_crypto.ERR_peek_error.restype = ctypes.c_ulong

_SET_MIN_VERSION, _SET_MAX_VERSION, _SET_SERVER_NAME = 123, 124, 55
_ZERO_RETURN = 6  # the server said close_notify
VERSIONS = {"1.2": 0x0303, "1.3": 0x0304}


class Alert(Exception):
    """A fatal one of the server's; its number."""


class TlsClient:
    """Blocking, over a connected socket, which is its own from then on."""

    def __init__(self, connection: socket.socket, version: str = "1.3", cipher: str | None = None, alpn: str = ""):
        self.socket = connection
        connection.setblocking(True)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, int(PATIENCE).to_bytes(8, "little") + bytes(8))
        self._context = _ssl.SSL_CTX_new(_ssl.TLS_client_method())
        for setting in (_SET_MIN_VERSION, _SET_MAX_VERSION):
            _ssl.SSL_CTX_ctrl(self._context, setting, VERSIONS[version], None)
        if cipher is not None:
            choose = _ssl.SSL_CTX_set_ciphersuites if version == "1.3" else _ssl.SSL_CTX_set_cipher_list
            assert choose(self._context, cipher.encode()) == 1
        self._tls = _ssl.SSL_new(self._context)
        _ssl.SSL_ctrl(self._tls, _SET_SERVER_NAME, 0, b"site.test")
        if alpn:
            offer = bytes([len(alpn)]) + alpn.encode()
            _ssl.SSL_set_alpn_protos(self._tls, offer, len(offer))
        _ssl.SSL_set_fd(self._tls, connection.fileno())
        self._room = ctypes.create_string_buffer(1 << 16)
        self._ahead = b""
        self.said_close_notify = False
        self._check(_ssl.SSL_connect(self._tls))

    def close(self) -> None:
        if self._tls:
            _ssl.SSL_free(self._tls)
            _ssl.SSL_CTX_free(self._context)
            self._tls = None
        self.socket.close()

    def write(self, data: bytes) -> None:
        self._check(_ssl.SSL_write(self._tls, data, len(data)))

    def read(self, size: int = 1 << 16) -> bytes:
        """At least one byte; none: the server said close_notify."""
        if self._ahead:
            piece, self._ahead = self._ahead[:size], self._ahead[size:]
            return piece
        got = _ssl.SSL_read(self._tls, self._room, min(size, len(self._room)))
        if got <= 0 and _ssl.SSL_get_error(self._tls, got) == _ZERO_RETURN:
            self.said_close_notify = True
            return b""
        self._check(got)
        return self._room.raw[:got]

    def head(self) -> str:
        """Of a response, to its empty line."""
        text = b""
        while b"\r\n\r\n" not in text:
            piece = self.read()
            assert piece, f"the connection ended in a head: {text!r}"
            text += piece
        head, self._ahead = text.split(b"\r\n\r\n", 1)
        return head.decode("latin-1")

    def change_keys(self, both: bool) -> None:
        """KeyUpdate, and with `both` the wish that the server does the same."""
        assert _ssl.SSL_key_update(self._tls, 1 if both else 0) == 1
        self._check(_ssl.SSL_do_handshake(self._tls))

    def _check(self, result: int) -> None:
        if result > 0:
            return
        reason = _crypto.ERR_peek_error() & 0x7FFFFF
        kind = _ssl.SSL_get_error(self._tls, result)
        _crypto.ERR_clear_error()
        if kind == 1 and 1000 < reason < 1256:
            raise Alert(reason - 1000)
        raise AssertionError(f"TLS failed: {result}, error {kind}, reason {reason}")
