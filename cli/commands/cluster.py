"""`shoal cluster`: the swarm's state as a file, to be restored by `shoald restore`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from msgspec import DecodeError

from cli.command import ONE, Entry, Noun, Verb
from cli.errors import CliError
from cli.flags.grammar import SWITCH, Flag, Words
from cli.http import HttpError
from cli.session import Session
from cluster.api.archive import Manifest, Reader
from cluster.api.errors import InvalidArgument
from cluster.api.state_digest import StateDigest


def _save(session: Session, words: Words) -> None:
    """Into a file beside the one that is asked for, which it becomes once it is known to be whole."""
    path = Path(words.args[0])
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        manifest = _received(session, unfinished)
        unfinished.replace(path)
    except HttpError as broken:
        raise CliError(f"the daemon broke off in the middle of the snapshot: {broken}") from broken
    except OSError as failed:
        raise CliError(f"cannot save to {path}: {failed.strerror or failed}") from failed
    finally:
        unfinished.unlink(missing_ok=True)
    if not words.flags.on("quiet"):
        session.say(f"Saved {_contents(manifest)} as of index {manifest.raft_index} to {path}.")
        session.warn("The file holds every secret of the swarm and the key of its CA: keep it as you would keep those.")


def _received(session: Session, path: Path) -> Manifest:
    response = session.client.stream("/shoal/snapshot")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            while piece := response.read1():
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    finally:
        response.close()
    return _verified(path)


def _inspect(session: Session, words: Words) -> None:
    path = Path(words.args[0])
    digest = StateDigest()
    manifest = _verified(path, digest.take)
    shown = {
        "Cluster ID": manifest.cluster_id,
        "Created": manifest.created,
        "Raft index": manifest.raft_index,
        "Written by": f"Shoal {manifest.product}",
        "Feature level": manifest.feature_level,
        **{name.capitalize(): count for name, count in manifest.counts.items()},
        "State digest": digest.hexdigest(),
        "Size": f"{path.stat().st_size} bytes",
    }
    for name, value in shown.items():
        session.say(f"{name}: {value}")


def _verified(path: Path, take: Callable[[bytes], None] = lambda _: None) -> Manifest:
    """What is in the file, all of which has been read, given to `take` and held against its digest."""
    try:
        with path.open("rb") as file:
            reader = Reader(file.read)
            for frame in reader.frames():
                take(frame)
    except OSError as missing:
        raise CliError(f"cannot read {path}: {missing.strerror}") from missing
    except (InvalidArgument, DecodeError) as damaged:
        raise CliError(f"{path}: {damaged}") from damaged
    return reader.manifest


def _contents(manifest: Manifest) -> str:
    return ", ".join(f"{count} {name}" for name, count in manifest.counts.items())


save = Verb(
    "save",
    _save,
    help="Save the swarm's state to a file",
    arguments="FILE",
    arity=ONE,
    flags=(Flag("quiet", SWITCH, "Say nothing but errors", short="q"),),
    complete="file",
)
inspect = Verb(
    "inspect", _inspect, help="Show what is in a saved snapshot, and that it is whole", arguments="FILE", arity=ONE, complete="file"
)

snapshot = Noun(
    "snapshot",
    {"inspect": Entry(__name__, "inspect", inspect.help), "save": Entry(__name__, "save", save.help)},
    help="Save the swarm's state, look at what was saved",
)
noun = Noun("cluster", {"snapshot": Entry(__name__, "snapshot", snapshot.help)}, help="Look after the swarm's own state")
