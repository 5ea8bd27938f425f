"""The daemon's own log: text for people, JSON for machines, on stderr. Nothing secret is ever passed to it."""

import datetime
import json
import logging
import sys

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "warning": logging.WARNING}
_LEVELS |= {"error": logging.ERROR, "fatal": logging.CRITICAL}


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname.lower():<8} {record.getMessage()}"
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {"time": _time(record), "level": record.levelname.lower(), "logger": record.name, "msg": record.getMessage()}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def _time(record: logging.LogRecord) -> str:
    return datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")


def set_up(*, level: str, style: str, debug: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if style == "json" else _Text())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    set_level(level, debug=debug)


def set_level(level: str, *, debug: bool) -> None:
    """Ours as asked; libraries only from warnings on, unless we debug."""
    wanted = logging.DEBUG if debug else _LEVELS[level]
    logging.getLogger().setLevel(wanted)
    for chatty in ("asyncio", "aiohttp", "grpc"):
        logging.getLogger(chatty).setLevel(wanted if debug else max(wanted, logging.WARNING))
