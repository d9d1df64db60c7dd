"""Other people's HTTP servers, as Debian has them, each of which tells what it read of a request.

nginx, HAProxy and Apache pass what they read on to a recorder of ours; Node.js tells it itself. Whichever it was,
the answer is JSON: method, target, body, and how many requests this server has read so far.
"""

import http.client
import json
import shutil
from pathlib import Path

from .network import Namespace, Topology
from .processes import Process
from .rawhttp import Reply, Seen, Server
from .waiting import until

_NGINX = """
daemon off;
user root;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx.error;
events {{ worker_connections 256; }}
http {{
    access_log off;
    keepalive_timeout 3600s;
    keepalive_requests 1000000;
    client_body_temp_path {directory}/nginx-body;
    proxy_temp_path {directory}/nginx-proxy;
    fastcgi_temp_path {directory}/nginx-fastcgi;
    uwsgi_temp_path {directory}/nginx-uwsgi;
    scgi_temp_path {directory}/nginx-scgi;
    large_client_header_buffers 8 64k;
    underscores_in_headers on;
    ignore_invalid_headers off;
    server {{
        listen {address}:{port};
        location / {{
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass {recorder};
        }}
    }}
}}
"""

_HAPROXY = """
global
    maxconn 256
    tune.bufsize 131072
defaults
    mode http
    timeout connect 1m
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
frontend in
    bind {address}:{port}
    default_backend out
backend out
    server recorder {recorder_authority}
"""

_APACHE = """
ServerRoot {directory}
ServerName apache
Listen {address}:{port}
PidFile {directory}/apache.pid
ErrorLog {directory}/apache.error
User www-data
Group www-data
DefaultRuntimeDir {directory}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
StartServers 1
ThreadsPerChild 16
MaxRequestWorkers 16
ServerLimit 1
KeepAlive On
KeepAliveTimeout 3600
MaxKeepAliveRequests 0
LimitRequestFieldSize 65536
AllowEncodedSlashes NoDecode
ProxyPass / {recorder}/ nocanon
"""

_NODE_JS = """
const http = require('http');
let read = 0;
const server = http.createServer((request, response) => {
  const pieces = [];
  request.on('data', piece => pieces.push(piece));
  request.on('end', () => {
    const body = JSON.stringify({ method: request.method, target: request.url,
                                  body: Buffer.concat(pieces).toString('latin1'), serial: ++read });
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) });
    response.end(request.method === 'HEAD' ? undefined : body);
  });
});
server.keepAliveTimeout = 3600 * 1000;
server.headersTimeout = 0;
server.requestTimeout = 0;
server.listen(Number(process.argv[3]), process.argv[2]);
"""

PROGRAMS = {"nginx": "nginx", "haproxy": "haproxy", "apache": "apache2", "node": "node"}


def missing() -> list[str]:
    return [program for program in PROGRAMS.values() if shutil.which(program) is None]


class RealServer:
    """One of PROGRAMS, in the namespace, on a port of its own there."""

    def __init__(self, kind: str, namespace: Namespace, directory: Path, port: int):
        self.kind, self._namespace, self._port = kind, namespace, port
        self.url = f"http://{Topology.BACKEND}:{port}"
        self._read = 0
        configuration = directory / f"{kind}.conf"
        if kind == "node":
            configuration.write_text(_NODE_JS)
            command = ["node", str(configuration), Topology.BACKEND, str(port)]
        else:
            recorder = Server(namespace, answer=self._tell)
            text = {"nginx": _NGINX, "haproxy": _HAPROXY, "apache": _APACHE}[kind]
            configuration.write_text(text.format(
                directory=directory, address=Topology.BACKEND, port=port, recorder=recorder.url,
                recorder_authority=recorder.url.removeprefix("http://")))
            command = {"nginx": ["nginx", "-c", str(configuration), "-e", str(directory / "nginx.error")],
                       "haproxy": ["haproxy", "-db", "-f", str(configuration)],
                       "apache": ["apache2", "-D", "FOREGROUND", "-f", str(configuration)]}[kind]
        self.process: Process = namespace.start(command, directory / f"{kind}.log")
        until(self._answers, f"{kind} serves", 30)

    def _tell(self, seen: Seen) -> Reply:
        self._read += 1
        body = json.dumps({"method": seen.method, "target": seen.target, "body": seen.body.decode("latin-1"),
                           "serial": self._read}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        return Reply(head if seen.method == "HEAD" else head + body)

    def _answers(self) -> bool:
        if self.process.exit_code() is not None:
            raise AssertionError(f"{self.kind} ended at once:\n{self.process.output()}")
        try:
            stream = self._namespace.connect(Topology.BACKEND, self._port)
        except OSError:
            return False
        connection = http.client.HTTPConnection(Topology.BACKEND, self._port)
        connection.sock = stream
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
