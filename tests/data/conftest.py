"""An HTTP server on 127.0.0.1 that serves bytes and can fail like real servers and connections."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Loopback:
    """`files` by name; `asked` lists the requests as (name, first byte). Each request uses up one of `faults`.

    A fault changes the answer: `stop` after N bytes, return a `status`, send a wrong `length` (None: none) or
    `total`, `start` at another byte, ignore `ranges`, send `inverted` bytes or N bytes `more`.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, int]] = field(default_factory=list)


def answer(handler: BaseHTTPRequestHandler, content: bytes, start: int, fault: dict[str, Any]) -> None:
    if "status" in fault:
        handler.send_error(fault["status"])
        return
    if "inverted" in fault:
        content = bytes(255 - byte for byte in content)
    start = fault.get("start", start if fault.get("ranges", True) else 0)
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{fault.get('total', len(content))}")
    length = fault.get("length", len(content) - start)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()
    sent = content[start:] + b"x" * fault.get("more", 0)
    handler.wfile.write(sent[: fault.get("stop", len(sent))])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    state = Loopback()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            state.asked.append((name, start))
            fault = state.faults.pop(0) if state.faults else {}
            if name in state.files:
                answer(self, state.files[name], start, fault)
            else:
                self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    state.url = f"http://127.0.0.1:{listening.server_port}/files/"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
