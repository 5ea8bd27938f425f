"""One daemon an engine: two on the same one would take each other's containers for strays."""

import fcntl
import hashlib
import os
from pathlib import Path

from worker.ports import EngineError

FOLDER = Path("/run/shoal-engines")


class EngineTaken(EngineError):
    """Another daemon works with this engine."""

    def __init__(self, engine: str, holder: str) -> None:
        super().__init__(
            f"the engine at {engine} is used by another shoald ({holder}); stop that one, or give this one its own engine with --engine"
        )


class EngineClaim:
    """Held from construction to `release`, or until the process ends."""

    def __init__(self, engine: str, engine_id: str, *, holder: str, folder: Path = FOLDER) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(engine_id.encode()).hexdigest()[:24]
        self._file = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            taken_by = os.read(self._file, 400).decode(errors="replace").strip()
            os.close(self._file)
            raise EngineTaken(engine, taken_by or "unknown") from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, holder.encode(), 0)

    def release(self) -> None:
        os.close(self._file)
