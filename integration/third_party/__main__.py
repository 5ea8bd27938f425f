"""`make clients`: Ansible's modules describe a swarm twice, change it twice and remove it twice. Exit 0 only if every task worked, and
the second time found nothing to change.

Not part of `make test`: it installs Ansible into a folder of its own, which is gone afterwards, and takes some minutes.
"""

import os
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

from integration.cluster_rig import Cluster, busybox_archive
from integration.netlab import why_no_engine

PLAYBOOK = Path(__file__).with_name("site.yml")
NEEDS = ("ansible-core==2.19.*", "docker==7.*", "requests", "jsondiff", "pyyaml")
BUNDLE = "ansible==12.3.0"
"""Of which the collections below are taken; all of them together are half a gigabyte."""
COLLECTIONS = ("ansible_collections/community/docker/", "ansible_collections/community/library_inventory_filtering_v1/")
LINGERING = re.compile(r"\[2 [^\]]*\]")
"""Names of tasks begin with the number of their pass."""


def install(folder: Path) -> Path:
    """Ansible, in a venv and a folder of collections; the venv's programs."""
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / "bin"
    pip = (str(programs / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check")
    subprocess.run((*pip, "install", *NEEDS), check=True)
    subprocess.run((*pip, "download", "--no-deps", "--dest", str(folder), BUNDLE), check=True)
    with zipfile.ZipFile(next(folder.glob("ansible-*.whl"))) as wheel:
        wheel.extractall(folder / "collections", [name for name in wheel.namelist() if name.startswith(COLLECTIONS)])
    return programs


def play(programs: Path, docker_host: str) -> tuple[int, list[str]]:
    """(exit status, tasks of second passes that changed something)."""
    environment = {
        **os.environ,
        "DOCKER_HOST": docker_host,
        "ANSIBLE_COLLECTIONS_PATH": str(programs.parents[1] / "collections"),
        "ANSIBLE_HOME": str(programs.parents[1] / "home"),
        "ANSIBLE_NOCOLOR": "1",
    }
    interpreter = f"ansible_python_interpreter={programs / 'python'}"
    command = (str(programs / "ansible-playbook"), "--diff", "-i", "localhost,", "-e", interpreter, str(PLAYBOOK))
    lingering, task = [], ""
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            sys.stdout.write(line)
            if line.startswith("TASK "):
                task = line
            elif line.startswith("changed:") and (found := LINGERING.search(task)):
                lingering.append(found[0])
    return running.returncode, lingering


def main() -> int:
    if reason := why_no_engine():
        print(f"make clients: {reason}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="shoal-clients-") as name:
        folder = Path(name)
        programs = install(folder)
        with Cluster("clients", folder / "cluster", network="10.91.0") as cluster:
            manager = cluster.bring_up(managers=1, workers=1, archive=busybox_archive(folder), image="shoal-lab")
            status, lingering = play(programs, manager.url)
    for task in lingering:
        print(f"changed again: {task}", file=sys.stderr)
    return 1 if status or lingering else 0


if __name__ == "__main__":
    sys.exit(main())
