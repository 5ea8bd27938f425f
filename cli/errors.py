"""What ends a command early: each failure knows its one line and its exit code; only main prints."""

from __future__ import annotations


class CliError(Exception):
    """A failure told to the user in one line; the process then ends with `code`."""

    code = 1

    @property
    def told(self) -> str:
        """What the user is shown."""
        return self.message

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class Usage(CliError):
    """The command line itself was wrong: the line is followed by how the command is used."""

    def __init__(self, message: str, *, code: int = 1, line: str = "", path: str = "") -> None:
        super().__init__(message, code=code)
        self.line, self.path = line, path

    def of(self, line: str, path: str) -> Usage:
        """The same, of the command with this usage line."""
        return Usage(self.message, code=self.code, line=line, path=path)

    @property
    def told(self) -> str:
        return f"{self.message}\n\nUsage:  {self.line}\n\nRun '{self.path} --help' for more information" if self.path else self.message


class NoDaemon(CliError):
    """Nobody answers at the daemon's address."""

    def __init__(self, address: str, reason: str = "") -> None:
        tail = f" ({reason})" if reason else ""
        super().__init__(f"Cannot connect to the Shoal daemon at {address}. Is shoald running?{tail}")
        self.address = address


class ApiError(CliError):
    """The daemon answered, and the answer was no."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"Error response from daemon: {said}")
        self.status = status
        self.said = said


class Unconverged(CliError):
    """What was asked for is admitted, and has not come about."""

    code = 2


class SilentExit(CliError):
    """Everything has been said already; only the exit code is left to give."""

    def __init__(self, code: int = 1) -> None:
        super().__init__("", code=code)
