"""A program that runs JavaScript, Node or a browser, and is told over loopback HTTP what to do: both can fetch."""

from __future__ import annotations

import json
import queue
import secrets
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Dict

from .bootstrap import end_with_parent

POLL_S = 0.5
"""How often is checked that the program still runs, while its answer is awaited."""

TYPES = {".html": "text/html", ".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}

ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
"""Headers with which a browser lets a page have threads, and a clock of 5 µs instead of 100 µs."""

Files = Dict[str, Callable[[], bytes]]


class Program:
    """One program: it fetches `command` again and again, and posts what it answers, and the bytes that belong to it.

    `files` are what it may fetch besides, by name; `library` is a folder whose files it may fetch below `library/`.
    Only who knows the secret in its address can talk to the server.
    """

    def __init__(self, start: Callable[[str], list[str]], files: Files, library: Path) -> None:
        self.files, self._library = files, library
        self._commands: queue.Queue[Any] = queue.Queue()
        self._answers: queue.Queue[Any] = queue.Queue()
        self._posted: dict[str, bytes] = {}
        self._secret = secrets.token_hex(16)
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = start(f"http://127.0.0.1:{server.server_port}/{self._secret}/")
        self._name = Path(command[0]).name
        self._process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509  it only calls the system
        )

    def ask(self, **command: Any) -> tuple[Any, dict[str, bytes]]:
        """Return the answer to a command, and the bytes posted with it by name.

        Raises:
            RuntimeError: the program answered with an error, or ended.
        """
        self._commands.put(command)
        while True:
            try:
                answer = self._answers.get(timeout=POLL_S)
                break
            except queue.Empty:
                code = self._process.poll()
                if code is not None:
                    raise RuntimeError(f"{self._name} ended with exit code {code}") from None
        posted, self._posted = self._posted, {}
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer, posted

    def _read(self, name: str) -> bytes | None:
        """Return the bytes of a name that the program fetches; None if it has none."""
        if name == "command":
            return json.dumps(self._commands.get()).encode()
        if name in self.files:
            return self.files[name]()
        path = self._library / Path(name).name
        return path.read_bytes() if name.startswith("library/") and path.is_file() else None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        program = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # headers and body in one packet: in two, each answer waits 40 ms

            def do_GET(self) -> None:
                self._answer(self._name() and program._read(self._name()))

            def do_POST(self) -> None:
                data, name = self.rfile.read(int(self.headers["Content-Length"])), self._name()
                if name == "answer":
                    program._answers.put(json.loads(data))
                elif name:
                    program._posted[name] = data
                self._answer(b"" if name else None)

            def _name(self) -> str:
                """Return the name behind the secret; empty if the secret is wrong."""
                _, secret, name = [*self.path.split("/", 2), "", ""][:3]
                return name if secrets.compare_digest(secret.encode(), program._secret.encode()) else ""

            def _answer(self, data: bytes | str | None) -> None:
                self.send_response(200 if isinstance(data, bytes) else 404)
                content = data if isinstance(data, bytes) else b""
                suffix = Path(self.path).suffix
                headers = {**ISOLATED, "Content-Type": TYPES.get(suffix, "application/octet-stream")}
                for key, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
                """Print nothing: standard error belongs to the worker's connection."""

        return Handler
