"""A server and a client of gRPC, each a program of its own: gRPC's threads would not stay in a namespace.

    grpc_ends.py server ADDRESS PORT
    grpc_ends.py client ADDRESS:PORT CA_FILE NAME      prints one JSON object: what came of each kind of call
"""

import concurrent.futures
import json
import sys

import grpc

LARGE = 3_000_000


class _Handler(grpc.GenericRpcHandler):
    """Messages are bytes as they are; the method's name says what becomes of them."""

    def service(self, details):
        kinds = {"/test/unary": grpc.unary_unary_rpc_method_handler(lambda request, _: request.upper()),
                 "/test/down": grpc.unary_stream_rpc_method_handler(self._down),
                 "/test/up": grpc.stream_unary_rpc_method_handler(lambda requests, _: b"".join(requests)),
                 "/test/both": grpc.stream_stream_rpc_method_handler(self._both),
                 "/test/fails": grpc.unary_unary_rpc_method_handler(self._fails)}
        return kinds.get(details.method)

    @staticmethod
    def _down(request, context):
        for number in range(int(request)):
            yield b"%d" % number

    @staticmethod
    def _both(requests, context):
        for request in requests:
            yield request[::-1]

    @staticmethod
    def _fails(request, context):
        context.set_trailing_metadata((("x-reason", "because"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today")


def serve(address: str, port: str) -> None:
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((_Handler(),))
    if server.add_insecure_port(f"{address}:{port}") == 0:
        sys.exit("the port is taken")
    server.start()
    server.wait_for_termination()


def call(target: str, ca_file: str, name: str) -> None:
    with open(ca_file, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    options = [("grpc.ssl_target_name_override", name), ("grpc.default_authority", name),
               ("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1)]
    with grpc.secure_channel(target, credentials, options=options) as channel:
        large = bytes(range(256)) * (LARGE // 256)
        seen = {"unary": channel.unary_unary("/test/unary")(b"abc", timeout=60).decode(),
                "large": channel.unary_unary("/test/unary")(large, timeout=60) == large.upper(),
                "down": [piece.decode() for piece in channel.unary_stream("/test/down")(b"200", timeout=60)],
                "up": len(channel.stream_unary("/test/up")((b"x" * 1000 for _ in range(500)), timeout=60))}

        stream = channel.stream_stream("/test/both")(iter([b"m%d" % n for n in range(20)]), timeout=60)
        seen["both"] = [piece.decode() for piece in stream]
        try:
            channel.unary_unary("/test/fails")(b"", timeout=60)
        except grpc.RpcError as error:
            seen["fails"] = [error.code().name, error.details(), dict(error.trailing_metadata()).get("x-reason")]
        try:
            channel.unary_unary("/test/unknown")(b"", timeout=60)
        except grpc.RpcError as error:
            seen["unknown"] = error.code().name
    print(json.dumps(seen))


if __name__ == "__main__":
    {"server": serve, "client": call}[sys.argv[1]](*sys.argv[2:])
