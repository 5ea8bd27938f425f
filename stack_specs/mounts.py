"""Volumes in the short syntax: [source:]target[:options]. A source that looks like a path is a bind mount."""

from stack_specs.model import BindOptions, Mount, VolumeOptions

_PROPAGATIONS = ("rprivate", "private", "rshared", "shared", "rslave", "slave")


def parse(text: str) -> Mount:
    """Read one short form; raise ValueError if it is none."""
    if not text:
        raise ValueError("a volume must not be empty")
    if len(text) <= 2:
        return Mount(type="volume", target=text)
    sections = _split(text)
    if "" in sections:
        raise ValueError(f"{text!r} has nothing between two colons, before the first or after the last one")
    if len(sections) > 3:
        raise ValueError(f"{text!r} has too many colons")
    if len(sections) == 1:
        return Mount(type="volume", target=text)
    source, target, *options = sections
    mount = Mount(type="bind" if _is_path(source) else "volume", source=source, target=target)
    return _with_options(mount, options[0]) if options else mount


def _split(text: str) -> list[str]:
    """The sections between colons. A colon after a single letter belongs to it: it may be a drive of Windows."""
    sections = [""]
    for character in text:
        section = sections[-1]
        if character == ":" and not (len(section) == 1 and section.isalpha()):
            sections.append("")
        else:
            sections[-1] += character
    return sections


def _is_path(source: str) -> bool:
    if source[0] in "./~":
        return True
    return len(source) > 1 and (source.startswith("\\\\") or (source[0].isalpha() and source[1] == ":"))


def _with_options(mount: Mount, written: str) -> Mount:
    read_only = False
    bind: BindOptions | None = None
    volume: VolumeOptions | None = None
    for option in written.split(","):
        if option in ("ro", "rw"):
            read_only = option == "ro"
        elif option == "nocopy":
            volume = VolumeOptions(nocopy=True)
        elif option in _PROPAGATIONS:
            bind = BindOptions(propagation=option)
    return Mount(
        type=mount.type,
        source=mount.source,
        target=mount.target,
        read_only=read_only,
        bind=bind,
        volume=volume,
    )
