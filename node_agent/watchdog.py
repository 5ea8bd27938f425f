"""A thread that watches the event loop. A loop that is stuck in synchronous code answers nobody, no timeout ends it, and nobody else
in the process sees it: other managers elect another leader, but this node is lost until its daemon is started again.

After an election timeout of silence the stacks of all threads are logged; after far more the process ends itself, for whoever
supervises it to start it again. Containers live on, as through any restart.
"""

import asyncio
import enum
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

log = logging.getLogger(__name__)

EVERY = 0.1
"""Seconds between two beats of the loop, and two looks of the thread."""
SHOW_AFTER = 1.2
"""The longest election timeout: from here on another manager leads."""
END_AFTER = 15.0
"""Far beyond what a slow disk or a machine that swaps takes, as ending would make neither of them faster."""
STATUS = 70
"""EX_SOFTWARE of sysexits(3)."""


class Verdict(enum.Enum):
    WAIT = "wait"
    SHOW = "show"
    END = "end"


class Silence:
    """Adds up the silence between looks. A look that comes late counts as two at the most: if the process was stopped, or the machine
    asleep or overloaded, then so was the thread that looks, and the loop is not to blame for that time.
    """

    def __init__(self, *, show_after: float = SHOW_AFTER, end_after: float = END_AFTER, every: float = EVERY) -> None:
        self._show_after = show_after
        self._end_after = end_after
        self._every = every
        self._looked: float | None = None
        self._beats = -1
        self._was_shown = False
        self.seconds = 0.0

    def look(self, *, at: float, beats: int) -> Verdict:
        """`beats`: how often the loop came round so far; SHOW is said once a silence."""
        passed = 0.0 if self._looked is None else min(at - self._looked, 2 * self._every)
        self._looked = at
        if beats != self._beats:
            self._beats, self.seconds, self._was_shown = beats, 0.0, False
            return Verdict.WAIT
        self.seconds += passed
        if self.seconds >= self._end_after:
            return Verdict.END
        if self.seconds >= self._show_after and not self._was_shown:
            self._was_shown = True
            return Verdict.SHOW
        return Verdict.WAIT


def _end() -> None:
    os._exit(STATUS)


class Watchdog:
    """`run` it in the loop that it watches."""

    def __init__(self, silence: Silence | None = None, *, end: Callable[[], None] = _end) -> None:
        self._silence = silence or Silence()
        self._end = end
        self._beats = 0
        self._stop = threading.Event()

    async def run(self) -> None:
        thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        thread.start()
        try:
            while True:
                self._beats += 1
                await asyncio.sleep(EVERY)
        finally:
            self._stop.set()

    def _watch(self) -> None:
        silence = self._silence
        while not self._stop.wait(EVERY):
            match silence.look(at=time.monotonic(), beats=self._beats):
                case Verdict.SHOW:
                    _say(f"the event loop has been silent for {silence.seconds:.1f} s; what the threads do:\n{stacks()}")
                case Verdict.END:
                    _say(f"the event loop has been silent for {silence.seconds:.0f} s: this daemon ends, to be started again:\n{stacks()}")
                    self._end()
                    return
                case Verdict.WAIT:
                    pass


def _say(what: str) -> None:
    """In a thread of its own: if it is the log that everything hangs on, the end must not."""
    speaker = threading.Thread(target=log.critical, args=(what,), name="watchdog-says", daemon=True)
    speaker.start()
    speaker.join(1.0)


def stacks() -> str:
    """Where every thread is now, the innermost call last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames()  # noqa: SLF001 - what the standard library offers for this
    return "\n".join(
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame)).rstrip()}"
        for ident, frame in frames.items()
        if ident != threading.get_ident()
    )
