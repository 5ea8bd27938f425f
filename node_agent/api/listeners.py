"""Where the API listens and who may come: unix sockets for root and a group, TCP with certificates if asked."""

import contextlib
import grp
import os
import socket
import ssl
import stat
import struct
from collections.abc import Mapping, MutableMapping
from typing import NamedTuple

from cluster.api.errors import InvalidArgument
from node_agent.api.messages import Peer
from node_agent.api.wire import Wire

BACKLOG = 4096
_FIRST_GIVEN = 3
"""SD_LISTEN_FDS_START"""


class Listening(NamedTuple):
    """A bound socket; with a TLS context, clients must show a certificate if the context says so."""

    sock: socket.socket
    tls: ssl.SSLContext | None = None


def inherited(environ: MutableMapping[str, str], pid: int) -> Mapping[str, socket.socket]:
    """The listening unix sockets that systemd started us with (sd_listen_fds(3)), by path. Once: our children get none of them."""
    count = environ.pop("LISTEN_FDS", "0") if environ.pop("LISTEN_PID", "") == str(pid) else "0"
    environ.pop("LISTEN_FDNAMES", None)
    found: dict[str, socket.socket] = {}
    for descriptor in range(_FIRST_GIVEN, _FIRST_GIVEN + (int(count) if count.isdigit() else 0)):
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
        if sock.family != socket.AF_UNIX or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise InvalidArgument(f"systemd gave us descriptor {descriptor}, which is no listening unix socket: look at shoald.socket")
        found[str(sock.getsockname())] = sock
    return found


def bind_unix(path: str, *, group: str = "docker", mode: int = 0o660) -> Listening:
    """A unix socket that root and the group, if there is one, may use. One left by a dead daemon is replaced, a live one never."""
    if len(os.fsencode(path)) > 107:
        raise InvalidArgument(f"cannot listen on {path}: a unix socket's path has at most 107 bytes; choose a shorter one")
    _remove_dead(path)
    sock = socket.socket(socket.AF_UNIX)
    try:
        before = os.umask(0o777 & ~(mode & 0o600))
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        try:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
        except (KeyError, PermissionError):
            mode &= 0o700
        os.chmod(path, mode)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise InvalidArgument(f"cannot listen on {path}: {error.strerror}") from error
    return Listening(sock)


def _remove_dead(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise InvalidArgument(f"cannot listen on {path}: there is a file of that name which is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise InvalidArgument(f"cannot listen on {path}: another daemon does; stop it or choose another -H")


def bind_tcp(host: str, port: int, *, tls: ssl.SSLContext | None = None) -> Listening:
    """A TCP socket."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.create_server((host, port), family=family, backlog=BACKLOG)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # inherited: a machine that vanished is noticed at last
    except OSError as error:
        raise InvalidArgument(f"cannot listen on tcp://{host}:{port}: {error.strerror}") from error
    return Listening(sock, tls)


def peer_of(wire: Wire) -> Peer:
    """Who is on the other end."""
    if wire.is_unix:
        credentials = wire.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid, uid, gid = struct.unpack("3i", credentials)
        return Peer(uid=uid, gid=gid, pid=pid)
    with contextlib.suppress(OSError):
        return Peer(address=wire.sock.getpeername()[0])
    return Peer()
