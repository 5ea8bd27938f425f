"""The help pages: what a noun's or a verb's --help prints. Pure but for the terminal's width."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cli.flags.grammar import Flag


def verb(path: str, line: str, text: str, *, aliases: Sequence[str], flags: Sequence[Flag]) -> str:
    """A verb's page: usage, what it does, its other names, its flags."""
    parts = [f"Usage:  {line}", _wrapped(text)]
    if aliases:
        noun = path.rpartition(" ")[0]
        parts.append("Aliases:\n  " + ", ".join([path, *(f"{noun} {alias}" for alias in aliases)]))
    if shown := [flag for flag in flags if not flag.hidden]:
        parts.append("Options:\n" + options(shown))
    return "\n\n".join(parts)


def noun(path: str, text: str, verbs: Mapping[str, str]) -> str:
    """A noun's page: what it is about, and its verbs."""
    return "\n\n".join(
        [
            f"Usage:  {path} COMMAND",
            _wrapped(text),
            "Commands:\n" + columns(sorted(verbs.items())),
            f"Run '{path} COMMAND --help' for more information on a command.",
        ]
    )


def options(flags: Iterable[Flag]) -> str:
    return columns(
        (("" if flag.short else "    ") + flag.spelled + (f" {flag.kind.word}" if flag.kind.word else ""), _described(flag))
        for flag in sorted(flags, key=lambda flag: flag.name)
    )


def columns(rows: Iterable[tuple[str, str]]) -> str:
    """Two columns; the second is wrapped to the terminal."""
    import textwrap  # noqa: PLC0415 - only help pays for it

    pairs = list(rows)
    left = max((len(name) for name, _ in pairs), default=0)
    room = max(_width() - left - 5, 24)
    lines = []
    for name, text in pairs:
        first, *more = textwrap.wrap(text, room) or [""]
        lines.append(f"  {name:<{left}}   {first}".rstrip())
        lines += [" " * (left + 5) + line for line in more]
    return "\n".join(lines)


def _described(flag: Flag) -> str:
    return f"{flag.help} (default {flag.default})" if flag.default else flag.help


def _wrapped(text: str) -> str:
    import textwrap  # noqa: PLC0415

    return "\n".join(textwrap.fill(line, _width()) for line in text.splitlines())


def _width() -> int:
    import shutil  # noqa: PLC0415

    return min(shutil.get_terminal_size((80, 24)).columns, 120)
