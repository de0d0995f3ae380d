"""A web server on 127.0.0.1 that serves a folder, well or badly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answer = Callable[["Handler", bytes], None]


class Handler(BaseHTTPRequestHandler):
    """Answers with a file of the folder; `server.answer` may do so in its own way."""

    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        path = self.server.folder / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        self.server.answer(self, path.read_bytes())

    def whole(self, content: bytes, length: int | None = None, **headers: str) -> None:
        """The content; `length` is the one that is stated, if another; -1 states none."""
        self.send_response(200)
        if length != -1:
            self.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    folder: Path
    answer: Answer
    asked: list[str]
    daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving(folder: Path, answer: Answer = Handler.whole) -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.folder, server.answer, server.asked = folder, answer, []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
