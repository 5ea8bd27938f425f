"""The machine's own noises: randomness, ids, systemd's notification. What is passed to everything that must not draw by itself."""

import gc
import os
import secrets
import socket
import sys
import threading
from random import Random

from cluster.api.ids import Id, from_bytes
from cluster.rpc.tokens import secret_from


def draw_id() -> Id:
    return from_bytes(secrets.token_bytes(16))


def draw_secret() -> str:
    """The secret part of a join token."""
    return secret_from(secrets.token_bytes(16))


def draw_serial() -> int:
    """A certificate's serial number: 159 random bits (RFC 5280 4.1.2.2: at most 20 octets, positive)."""
    return secrets.randbits(159) | 1


def draw_key() -> bytes:
    """32 bytes."""
    return secrets.token_bytes(32)


def rng() -> Random:
    """For jitter and election timeouts: nothing that an adversary must not guess."""
    return Random(secrets.randbits(64))


def tame_collector() -> None:
    """What is loaded stays: never look at it again. Full collections of a large store would stop the loop, so they are left out;
    values have no cycles, and the young generations still catch what libraries drop. A collection looks at all that was made since
    the one before, some 40,000 objects here at the most: about 20 ms when a large state is read.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 4, 1_000_000)


def end_within(seconds: float) -> None:
    """Whatever hangs on the way out, even a blocked loop, is cut off then: containers and state are as safe as from kill -9."""

    def cut_off() -> None:
        sys.stderr.write(f"shoald: stopping took longer than {seconds:g} s; cutting off what is left\n")
        sys.stderr.flush()
        os._exit(1)

    last = threading.Timer(seconds, cut_off)
    last.daemon = True
    last.start()


def notify(state: str) -> None:
    """Tell systemd (sd_notify(3)); nothing happens without it."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto(state.encode(), address)
