"""A web server of this machine for a page: nobody else reaches it, and it lets the page use several threads."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from imfcodec.errors import UsageError

ADDRESS = "127.0.0.1"
# Browsers share memory between threads only where nothing of another origin is in the page.
_ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


class PageServer(ThreadingHTTPServer):
    """Serves a folder at a port of the loopback address; port 0 takes a free one.

    Raises:
        UsageError: the port is taken, or not for this user.
    """

    daemon_threads = True

    def __init__(self, folder: str | Path, port: int = 0) -> None:
        try:
            super().__init__((ADDRESS, port), partial(_Handler, directory=str(folder)))
        except OSError as error:
            raise UsageError(f"port {port}: {error.strerror}; choose another one with --port") from None

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{ADDRESS}:{self.server_address[1]}/"


class _Handler(SimpleHTTPRequestHandler):
    # What the system says of these endings differs, and browsers run a module of one type alone.
    extensions_map = {  # noqa: RUF012
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".imf": "application/octet-stream",
    }

    def end_headers(self) -> None:
        for name, value in {**_ISOLATED, "Cache-Control": "no-cache"}.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""
