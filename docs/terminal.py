"""Record a command in a terminal, and draw the recording as an animated SVG."""

import os
import pty
import time
from html import escape

import pyte

COLUMNS, ROWS = 80, 25
PLAYED, HELD = 16, 10  # seconds of the animation, and of its end
FRAMES = 5  # per second
WIDTH, HEIGHT = 8.43, 19  # of a character

SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">
<title>{title}</title>
<style>
text {{ font: 14px ui-monospace, "DejaVu Sans Mono", monospace; fill: #e6edf3; white-space: pre }}
</style>
<rect width="100%" height="100%" rx="8" fill="#161b22">
<animate id="play" attributeName="rx" to="8" dur="{seconds}s" begin="0s;play.end"/>
</rect>
{lines}
</svg>
"""


def record(command: str) -> list[tuple[float, bytes]]:
    """Run a command of the shell in a terminal, and show it here too.

    Returns:
        What it printed, piece by piece, with the seconds since the start.

    Raises:
        RuntimeError: the command failed.
    """
    started = time.monotonic()
    printed = []

    def read(terminal: int) -> bytes:
        piece = os.read(terminal, 1024)
        printed.append((time.monotonic() - started, piece))
        return piece

    size = f"stty columns {COLUMNS} rows {ROWS}"
    status = pty.spawn(["sh", "-c", f"{size} && {command}"], read)
    if status:
        raise RuntimeError(f"{command}: status {os.waitstatus_to_exitcode(status)}")
    return printed


def animate(title: str, printed: list[tuple[float, bytes]]) -> str:
    """Draw what a command printed, so fast that all fits into the animation's seconds.

    Without animation, the SVG shows the end.
    """
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    stream.feed(f"$ {title}\r\n".encode())
    frames = [(0.0, list(screen.display))]
    for seconds, piece in printed:
        stream.feed(piece)
        played = round(seconds / printed[-1][0] * PLAYED * FRAMES) / FRAMES
        if played == frames[-1][0]:
            frames.pop()
        frames.append((played, list(screen.display)))
    ends = [start for start, _ in frames[1:]] + [PLAYED + HELD]

    lines = []
    for row in range(ROWS):
        shown: list[list] = []  # text, from, until
        for (start, display), end in zip(frames, ends, strict=True):
            if shown and shown[-1][0] == display[row]:
                shown[-1][2] = end
            else:
                shown.append([display[row], start, end])
        lines += [draw(row, *line) for line in shown if line[0].strip()]
    size = {"width": round(COLUMNS * WIDTH) + 24, "height": ROWS * HEIGHT + 20}
    return SVG.format(title=title, seconds=PLAYED + HELD, lines="\n".join(lines), **size)


def draw(row: int, text: str, start: float, end: float) -> str:
    """Draw one line of the terminal, for the time that it is there."""
    if end == PLAYED + HELD:
        now, change, begin, duration = "visible", "hidden", 0.0, start
    else:
        now, change, begin, duration = "hidden", "visible", start, end - start
    return (
        f'<text x="12" y="{26 + row * HEIGHT}" visibility="{now}">{escape(text.rstrip())}'
        f'<set attributeName="visibility" to="{change}" begin="play.begin+{begin:.1f}s"'
        f' dur="{duration:.1f}s"/></text>'
    )
