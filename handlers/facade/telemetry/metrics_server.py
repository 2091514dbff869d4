"""The page that Prometheus reads, GET /metrics, on a port and in threads of its own.

`prometheus_client.start_http_server` does not take its place: it answers at every path, keeps a
thread for each reader who says nothing, for ever, and asks a name server for this machine's name.
"""

import contextlib
import socket
import threading
from http.server import ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, ClassVar
from urllib.parse import urlsplit

from prometheus_client import MetricsHandler
from prometheus_client.registry import Collector

from anirank.client.addresses import host_and_port, is_local, resolve, with_port
from anirank.errors import AddressRefused, AddressUnavailable

PATH = "/metrics"
SILENCE_S = 10.0  # a reader who says nothing for so long is let go
MOST_READERS = 16  # at once, each a thread; the one there longest is let go for the next
_POLL_S = 0.1  # how soon the server sees that it is closed


class MetricsServer:
    """Answers GET /metrics, and nothing else, until it is closed.

    with MetricsServer("127.0.0.1:0", metrics.registry) as server:
        print(server.port)

    port: the one listened on. url: the page's.
    """

    def __init__(self, address: str, registry: Collector, *, insecure_public: bool = False) -> None:
        """Show `registry` on `address`: HOST:PORT, port 0 for a free one.

        insecure_public: whether other machines may see it. Raises AddressRefused where they could
        and may not, AddressUnavailable where the address cannot be listened on.
        """
        if not is_local(address) and not insecure_public:
            raise AddressRefused(
                f"{address}: the metrics would be open to other machines; give --insecure-public "
                "where something else keeps intruders out, or an address such as 127.0.0.1:9100"
            )
        host, port = host_and_port(address)
        family, _, _, _, where = resolve(address, host, port)[0]
        try:
            self._server = _server(family)((str(where[0]), int(where[1])), _handler(registry))
        except OSError as error:
            raise AddressUnavailable(
                f"{address}: in use, or not an address of this machine"
            ) from error
        self.port: int = self._server.server_address[1]
        self.url = f"http://{with_port(address, self.port)}{PATH}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="metrics", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> "MetricsServer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more; a page on its way is not waited for."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _server(family: int) -> type[ThreadingHTTPServer]:
    class Server(ThreadingHTTPServer):
        address_family = socket.AddressFamily(family)
        readers: ClassVar[dict[socket.socket, None]] = {}

        def process_request(self, request: Any, client_address: Any) -> None:
            """Answer a reader in a thread, and let go of the oldest where there are too many."""
            for oldest in list(self.readers)[: 1 - MOST_READERS or None]:
                self.readers.pop(oldest, None)
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # its thread finds out, and ends
            self.readers[request] = None
            super().process_request(request, client_address)

        def shutdown_request(self, request: Any) -> None:
            """Let go of a reader, in its thread."""
            self.readers.pop(request, None)
            super().shutdown_request(request)

        def server_bind(self) -> None:
            """Bind without asking a name server what this machine is called."""
            TCPServer.server_bind(self)

        def handle_error(self, request: object, client_address: object) -> None:
            """Let go of a reader who left, without a word."""

    return Server


def _handler(registry: Collector) -> type[MetricsHandler]:
    class Handler(MetricsHandler):
        timeout = SILENCE_S

        def do_GET(self) -> None:  # noqa: N802 - http.server's name
            """Answer with the page, or say that it stands elsewhere."""
            if urlsplit(self.path).path == PATH:
                super().do_GET()
            else:
                self.send_error(404, f"only {PATH} is here")

    Handler.registry = registry
    return Handler
