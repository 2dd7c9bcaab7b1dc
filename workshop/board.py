"""Show what the participants have done, on a page for the room: `make board`.

`make progress URL=...` on their machines sends a name and the numbers of the exercises. Nothing is
stored: the page is empty when it starts again, until they send once more.
"""

import html
import json
import socket
import sys
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EXERCISES = range(1, 9)
MOST_BYTES = 1000
MOST_PARTICIPANTS = 200
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="5">
<title>Workshop</title>
<style>
body {{ font: 1.4rem sans-serif; margin: 2rem; color-scheme: light dark }}
td, th {{ padding: .3rem .8rem; text-align: center }}
th:first-child, td:first-child {{ text-align: left }}
.done {{ background: #2a8; color: white }}
</style>
<h1>make progress URL={url} NAME=...</h1>
<table><tr><th>name{head}<th>last sent</tr>
{rows}
</table>
"""


def accepted(body: bytes) -> tuple[str, list[int]]:
    """Read a name and the numbers of exercises.

    Raises:
        ValueError: it is anything else.
    """
    try:
        sent = json.loads(body)
        name, done = sent["name"], sent["done"]
        if sorted(sent) == ["done", "name"] and isinstance(name, str) and name.strip():
            if len(name) <= 40 and isinstance(done, list) and all(n in EXERCISES for n in done):
                return name.strip(), done
    except (KeyError, TypeError, UnicodeDecodeError):
        pass
    raise ValueError("send a name of at most 40 letters, and numbers of exercises")


def page(url: str, participants: dict[str, tuple[list[int], float]]) -> str:
    """Write the page, with those who are furthest first."""
    rows = []
    for name, (done, at) in sorted(participants.items(), key=lambda row: (-len(row[1][0]), row[0])):
        cells = "".join(f"<td{' class=done' if n in done else ''}>{n}" for n in EXERCISES)
        sent = time.strftime("%H:%M", time.localtime(at))
        rows.append(f"<tr><td>{html.escape(name)}{cells}<td>{sent}</tr>")
    head = "".join(f"<th>{number}" for number in EXERCISES)
    return PAGE.format(url=url, head=head, rows="\n".join(rows))


class Board(ThreadingHTTPServer):
    """The server of the page; everyone in the room can reach it."""

    def __init__(self, port: int) -> None:
        super().__init__(("", port), Handler)
        self.participants: dict[str, tuple[list[int], float]] = {}
        self.url = f"http://{address()}:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Board

    def do_GET(self) -> None:
        """Show the page."""
        self.answer(HTTPStatus.OK, page(self.server.url, self.server.participants), "text/html")

    def do_POST(self) -> None:
        """Note what a participant has done."""
        participants = self.server.participants
        try:
            size = int(self.headers.get("Content-Length", ""))
            if not 0 < size <= MOST_BYTES:
                raise ValueError(f"send at most {MOST_BYTES} bytes")
            name, done = accepted(self.rfile.read(size))
            if name not in participants and len(participants) >= MOST_PARTICIPANTS:
                raise ValueError(f"{MOST_PARTICIPANTS} participants are enough")
        except ValueError as error:
            self.answer(HTTPStatus.BAD_REQUEST, str(error), "text/plain")
            return
        participants[name] = done, time.time()
        self.answer(HTTPStatus.OK, "", "text/plain")

    def answer(self, status: HTTPStatus, text: str, kind: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Do not fill the terminal."""


def address() -> str:
    """Find this machine's address in the room's network; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 1))  # an address that is nobody's
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


if __name__ == "__main__":
    board = Board(8000)
    print(f"{board.url}; participants: make progress URL={board.url} NAME=...", flush=True)
    try:
        board.serve_forever()
    except KeyboardInterrupt:
        sys.exit()
