"""The table of what we answer ourselves: which handler a method and a path belong to. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import unquote

from node_agent.api.messages import Handler


class Route(NamedTuple):
    """One line of the table. In `pattern`, `{name}` stands for one segment of the path, `{name:*}` for any number of them."""

    method: str
    pattern: str
    handler: Handler


class Match(NamedTuple):
    """A route that fits and what its names stand for."""

    handler: Handler
    params: Mapping[str, str]


class Router:
    """Looks a request up. Of two routes that fit, the one that comes first in the table wins."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._literal: dict[tuple[str, str], Match] = {}
        self._patterns: defaultdict[tuple[str, str], list[tuple[re.Pattern[str], Handler]]] = defaultdict(list)
        for route in routes:
            if "{" in route.pattern:
                self._patterns[route.method, _noun(route.pattern)].append((_compile(route.pattern), route.handler))
            else:
                self._literal.setdefault((route.method, route.pattern), Match(route.handler, {}))

    def find(self, method: str, path: str) -> Match | None:
        """The route of a path that still has its percent-encoding: an encoded slash does not divide segments."""
        if literal := self._literal.get((method, path)):
            return literal
        for pattern, handler in self._patterns.get((method, _noun(path)), ()):
            if match := pattern.fullmatch(path):
                return Match(handler, {name: unquote(value) for name, value in match.groupdict().items()})
        return None


def _noun(path: str) -> str:
    return path.split("/", 2)[1]


def _compile(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)(:\*)?\}", pattern)
    text = ""
    for literal, name, rest in zip(parts[0::3], [*parts[1::3], None], [*parts[2::3], None], strict=True):
        text += re.escape(literal)
        if name is not None:
            text += f"(?P<{name}>.+)" if rest else f"(?P<{name}>[^/]+)"
    return re.compile(text)
