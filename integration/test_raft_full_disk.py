"""A disk that is really full: writing is refused with the reason, nothing that was synced is lost, and it goes on when there is room."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Runs in a mount namespace of its own, on a 3 MiB file system with 1 MiB of ballast.
STORY = """
import json, sys
from pathlib import Path
from manager.raft.core.entries import Command, HardState
from manager.raft.errors import StorageFull
from manager.raft.opening import open_storage

disk = Path(sys.argv[1])
(disk / "ballast").write_bytes(bytes(1 << 20))
storage, last, said = open_storage(disk / "raft", key=bytes(32), cluster="c"), 0, ""
while not said:
    storage.write(HardState(term=1), [Command(index=last + 1, term=1, payload=bytes(20000))], last)
    try:
        storage.sync()
    except StorageFull as full:
        said = str(full)
    else:
        last += 1
kept = storage.load().entries[-1].index
(disk / "ballast").unlink()
storage.sync()
storage.close()
storage = open_storage(disk / "raft", key=bytes(32), cluster="c")
print(json.dumps({"said": said, "last": last, "kept": kept, "then": storage.load().entries[-1].index}))
"""


@pytest.mark.root
def test_a_full_disk_refuses_writes_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: it mounts a small file system in a namespace of its own")
    mount = f'mount -t tmpfs -o size=3m none "{tmp_path}" && exec "$0" -c "$1" "{tmp_path}"'
    played = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, sys.executable, STORY],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert played.returncode == 0, played.stderr
    told = json.loads(played.stdout)
    assert "free disk space" in told["said"]
    assert told["kept"] == told["last"] > 20
    assert told["then"] == told["last"] + 1
