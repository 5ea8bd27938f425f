"""The API's front alone, as a process: the real server, proxy, crossings, system and events before a real engine, outside a swarm."""

import argparse
import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import uvloop

from cluster.aio.clock import SystemClock
from node_agent.api.crossings import Meeting, NoCrossings
from node_agent.api.engine_link import EngineLink
from node_agent.api.engine_proxy import EngineProxy
from node_agent.api.event_merge import Event
from node_agent.api.events import Events
from node_agent.api.listeners import Listening, bind_tcp, bind_unix
from node_agent.api.server import ApiServer
from node_agent.api.system import Product, System


class OutsideASwarm:
    """The swarm's side of the ports for a node that is in none."""

    def ping(self) -> str:
        return "inactive"

    async def info(self) -> Mapping[str, Any]:
        return {"LocalNodeState": "inactive", "NodeID": "", "NodeAddr": "", "ControlAvailable": False, "Error": "", "RemoteManagers": None}

    def warnings(self) -> Sequence[str]:
        return ["WARNING: this node is not in a swarm"]

    async def since(self, time_nano: int) -> AsyncGenerator[Event, None]:
        await asyncio.get_running_loop().create_future()
        yield Event(type="node", action="never", actor=None, time_nano=time_nano)  # type: ignore[arg-type]


def front(engine_socket: str, our_socket: str) -> ApiServer:
    link, swarm, product = EngineLink(engine_socket), OutsideASwarm(), Product(version="0.0.1")
    routes = [
        *System(product, link, swarm).routes(),
        *Events(link, swarm, SystemClock()).routes(),
        *Meeting(link, NoCrossings(), our_socket=our_socket).routes(),
    ]
    return ApiServer(routes, EngineProxy(link), product=product.server)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("engine")
    parser.add_argument("socket")
    parser.add_argument("--tcp", type=int, default=0)
    parser.add_argument("--certificates", default="")
    asked = parser.parse_args()
    sockets: list[Listening] = [bind_unix(asked.socket)]
    if asked.tcp:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=f"{asked.certificates}/ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(f"{asked.certificates}/server.pem", f"{asked.certificates}/server-key.pem")
        sockets.append(bind_tcp("127.0.0.1", asked.tcp, tls=context))
    uvloop.run(front(asked.engine, asked.socket).run(sockets))


if __name__ == "__main__":
    main()
