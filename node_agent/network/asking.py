"""A question to a port of a task, asked inside its own network namespace: no rule of the host's is in the way. Or, where namespaces
may not be entered, from the host."""

import asyncio
import socket

from cluster.api.assignment import AssignedTask
from node_agent.network.netns import inside, of_pid
from worker.ports import ContainerState

LONGEST_LINE = 8 * 1024
LOOPBACK = "127.0.0.1"


def address_of(task: AssignedTask, container: ContainerState) -> str:
    """Where others reach the task; one on the host's network is where the host is."""
    own = [attachment.address.partition("/")[0] for attachment in task.attachments]
    return next(filter(None, (*own, *container.addresses.values())), LOOPBACK)


async def ask(pid: int | None, address: str, port: int, request: bytes) -> bytes:
    """The first line of the answer; nothing without a request. `pid`: whose namespace it is asked in; None: our own. Raises OSError."""
    with await asyncio.to_thread(_socket_inside, pid) as line:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(line, (address, port))
        if not request:
            return b""
        await loop.sock_sendall(line, request)
        answer = b""
        while b"\n" not in answer and len(answer) < LONGEST_LINE and (more := await loop.sock_recv(line, LONGEST_LINE)):
            answer += more
        return answer.partition(b"\n")[0]


def _socket_inside(pid: int | None) -> socket.socket:
    with inside(None if pid is None else of_pid(pid)):
        line = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    line.setblocking(False)
    return line
