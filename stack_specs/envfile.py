"""Environment files: NAME=value lines, # comments. Quotes and spaces are part of the value, as docker has it."""

from collections.abc import Mapping

_LONGEST = 64 * 1024


def parse(source: bytes, env: Mapping[str, str]) -> dict[str, str]:
    """The variables that a file sets. A name without a value takes that of `env`, or is left out; ValueError names the line."""
    found: dict[str, str] = {}
    for number, raw in enumerate(source.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if len(raw) >= _LONGEST:
            raise ValueError(f"line {number} is too long")
        try:
            line = raw.removesuffix(b"\r").decode().lstrip()
        except UnicodeDecodeError as error:
            raise ValueError(f"line {number} is not UTF-8") from error
        if not line or line.startswith("#"):
            continue
        name, separator, value = line.partition("=")
        if " " in name or "\t" in name:
            raise ValueError(f"line {number}: the variable name {name!r} contains whitespace")
        if not name:
            raise ValueError(f"line {number} has no variable name")
        if separator:
            found[name] = value
        elif name.strip() in env:
            found[name.strip()] = env[name.strip()]
    return found
