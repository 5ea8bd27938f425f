"""A real loop, stuck in real synchronous code: the stacks are logged, the process ends by itself; one that was only stopped does not."""

import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Bounds as short as a test wants them; the loop blocks for as long as it is told, then says that it lives.
STORY = """
import asyncio, sys, time, uvloop
from cluster.aio.supervise import background
from node_agent.watchdog import Silence, Watchdog

def stuck_here(seconds):
    time.sleep(seconds)

async def main(seconds):
    async with background(Watchdog(Silence(show_after=0.5, end_after=2.0)).run):
        await asyncio.sleep(0.3)
        print("running", flush=True)
        stuck_here(seconds)
        await asyncio.sleep(1.0)
        print("alive", flush=True)

uvloop.run(main(float(sys.argv[1])))
"""


def play(seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", STORY, str(seconds)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip


def test_a_stuck_loop_is_shown_and_then_ended() -> None:
    with play(60) as process:
        began = time.monotonic()
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (70, "running\n")
    assert "stuck_here" in err
    assert "this daemon ends, to be started again" in err
    assert time.monotonic() - began < 20


def test_a_loop_that_goes_on_in_time_is_only_shown() -> None:
    with play(1.2) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "running\nalive\n")
    assert "stuck_here" in err
    assert "ends" not in err


def test_a_process_that_was_stopped_far_longer_than_the_bound_goes_on() -> None:
    with play(0) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(4)
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "alive\n", "")
