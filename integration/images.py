"""An image that runs one Python file: the interpreter, the modules that the file imports, and the libraries of both.

There is no registry to take one from, and a whole interpreter is fifty times as large.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from integration.cluster_rig import run

_LIST = """
import sys, runpy
sys.argv = ["-", "x"]
try:
    runpy.run_path({script!r}, run_name="imported")
finally:
    sys.stdout.write("\\n".join(m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)))
"""


def python_archive(folder: Path, script: Path) -> Path:
    """A tar file to import as an image; its command is `/bin/python /server.py`."""
    root = folder / "python-root"
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    modules = [Path(name) for name in run((str(python), "-I", "-S", "-c", _LIST.format(script=str(script)))).splitlines()]
    library = Path(run((str(python), "-I", "-S", "-c", "import os; print(os.path.dirname(os.__file__))")))
    inside = [module for module in modules if module.is_relative_to(library)]
    needed = [python, library / "os.py", *inside, *(library / "encodings").glob("*.py")]
    shared = _libraries(one for one in needed if one.suffix in (".so", python.suffix))
    # Where they are here: the interpreter finds its library beside itself, and the loader where it was linked to look.
    for source in [*needed, *shared]:
        _copy(source, root / str(source).lstrip("/"))
    (root / str(library).lstrip("/") / "lib-dynload").mkdir(exist_ok=True)
    (root / "bin").mkdir(exist_ok=True)
    (root / "bin" / "python").symlink_to(python)
    for name in ("etc", "tmp", "run"):
        (root / name).mkdir(exist_ok=True)
    _copy(script, root / "server.py")
    archive = folder / "python.tar"
    run(("tar", "-C", str(root), "-cf", str(archive), "."))
    return archive


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def _libraries(binaries: Iterable[Path]) -> set[Path]:
    """The shared libraries that these are linked with, where the loader looks for them."""
    found = set()
    for binary in binaries:
        listed = subprocess.run(("ldd", str(binary)), capture_output=True, text=True, check=False).stdout
        found |= {Path(word) for line in listed.splitlines() for word in line.split() if word.startswith("/")}
    return found
