"""One's own terminal and standard streams at one end of a connection that was taken over: raw mode, size, both directions."""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from cli.client import frames
from cli.http import Response

CHUNK = 65536


def size() -> tuple[int, int]:
    """Rows and columns of the terminal that is written to; zeros where there is none."""
    try:
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        return 0, 0
    return rows, columns


@contextmanager
def raw(descriptor: int) -> Iterator[None]:
    """Keys go through as they are pressed, Ctrl-C too. What is no terminal is left alone."""
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def resized(tell: Callable[[], None]) -> Iterator[None]:
    """Call `tell` now, and whenever the window's size changes."""
    former = signal.signal(signal.SIGWINCH, lambda *_: tell())
    try:
        tell()
        yield
    finally:
        signal.signal(signal.SIGWINCH, former)


def feed(response: Response, descriptor: int) -> None:
    """Send what is typed or piped, beside whatever is read; its end ends that direction alone."""

    def send() -> None:
        with suppress(OSError):  # the other side has ended: whoever reads from it notices
            while piece := os.read(descriptor, CHUNK):
                response.send(piece)
            response.end_sending()

    threading.Thread(target=send, daemon=True).start()


def show(response: Response, *, framed: bool) -> None:
    """Write what comes until it ends; framed streams to stdout and stderr."""
    if framed:
        for stream, piece in frames(response):
            _put(2 if stream == 2 else 1, piece)
        return
    while piece := response.read1():
        _put(1, piece)


def _put(stream: int, piece: bytes) -> None:
    target = sys.stderr.buffer if stream == 2 else sys.stdout.buffer
    target.write(piece)
    target.flush()
