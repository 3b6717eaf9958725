"""The bench's own file server: pages, the chart's modules, the anchor, and the data from memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

_TYPES: Final = {
    ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".mjs": "text/javascript",
    ".css": "text/css", ".json": "application/json", ".bin": "application/octet-stream",
}  # fmt: skip


@contextmanager
def served(folders: Mapping[str, Path], data: Callable[[str], bytes]) -> Iterator[str]:
    """Serve `/NAME/...` from each folder and `/data/...` from `data`; yield the address."""
    handler = partial(_Handler, folders, data)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, name="bench-server")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: two small ones would wait 40 ms for each other.
    wbufsize = -1
    disable_nagle_algorithm = True

    def __init__(
        self, folders: Mapping[str, Path], data: Callable[[str], bytes], *connection: object
    ) -> None:
        self._folders = folders
        self._data = data
        super().__init__(*connection)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        room, _, name = self.path.partition("?")[0].lstrip("/").partition("/")
        path = self._folders[room] / name if room in self._folders else None
        if room == "data":
            body = self._data(name)
        elif path is not None and path.is_file():
            body = path.read_bytes()
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", _TYPES.get(Path(name).suffix, "text/plain"))
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: requests are not what is measured."""
