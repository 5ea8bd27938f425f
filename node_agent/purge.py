"""`shoald purge`: leaves the swarm and takes everything of ours off this host, with a running daemon or without one.

Each step is done whatever became of those before; at the end the host is looked at, and what is still there is said.
"""

import asyncio
import http.client
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click

from cluster.aio.clock import SystemClock
from node_agent import machine
from node_agent.config import Config, parse_host
from node_agent.doctor.checks import OK, leftovers
from node_agent.doctor.facts import Facts
from node_agent.doctor.gather import UnixConnection, daemon_pid, gather
from node_agent.leaving import remove_containers
from node_agent.network.data_plane import choose
from node_agent.network.engine_networks import DockerNetworks
from node_agent.network.kernel import Kernel
from worker.engine.docker import DockerEngine
from worker.engine.launcher import EngineLauncher
from worker.ports import EngineError

Say = Callable[[str], None]
_LEAVE_SECONDS, _END_SECONDS = 60.0, 20.0


@click.command("purge")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def purge(config: Config, yes: bool) -> None:
    """Leave the swarm and take everything of Shoal off this host: tasks, networks, rules, state.

    An engine that shoald started goes with its images and volumes; one that was there before stays. A manager should be demoted first.
    """
    if os.geteuid() != 0:
        raise click.ClickException("needs root: it removes networks, rules and state; start it with sudo")
    facts = gather(config)
    if not yes:
        what = f"ends {len(facts.engine.task_containers)} tasks on this host and deletes {config.data} and {config.runtime}"
        click.confirm(f"This {what}. Continue?", abort=True)
    _leave(config, facts, click.echo)
    asyncio.run(_clear(config, facts, click.echo))
    _delete(config, click.echo)
    left = [finding.text for finding in leftovers(gather(config)) if finding.level != OK]
    if left:
        raise click.ClickException("still there: " + "; ".join(left))
    click.echo("Shoal is gone from this host.")


# -- the daemon ----------------------------------------------------------------------------------------------------------------------------
def _leave(config: Config, facts: Facts, say: Say) -> None:
    """Out of the swarm, while there is somebody to tell it; then the daemon ends."""
    if facts.daemon.pid and facts.member is not None:
        try:
            _ask_to_leave(config)
        except (OSError, http.client.HTTPException) as problem:
            say(f"The swarm was not told that this node leaves ({problem}): remove it there with 'shoal node rm --force'.")
    if Path("/run/systemd/system").exists():
        subprocess.run(("systemctl", "disable", "--now", "shoald.socket", "shoald"), capture_output=True, check=False)
    end_process(daemon_pid(config), say)


def _ask_to_leave(config: Config) -> None:
    for path in (parse_host(host).path for host in config.hosts if host.startswith("unix://")):
        connection = UnixConnection(path, seconds=_LEAVE_SECONDS)
        try:
            connection.request("POST", "/swarm/leave?force=1")
            answer = connection.getresponse()
            said = answer.read().decode(errors="replace").strip()
        finally:
            connection.close()
        if answer.status != 200:
            raise OSError(said)
        return


def end_process(pid: int, say: Say) -> None:
    """Asks it to end, and ends it when it does not within a while; fine when there is none (0)."""
    if not pid:
        return
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(watch, number)
            if select.select([watch], [], [], _END_SECONDS)[0]:
                return
            say(f"Process {pid} does not end.")
    finally:
        os.close(watch)


# -- what it made --------------------------------------------------------------------------------------------------------------------------
async def _clear(config: Config, facts: Facts, say: Say) -> None:
    """Containers, bridges, devices, rules, the name server."""
    clock = SystemClock()
    if facts.engine.address and not facts.engine.problem:
        engine = DockerEngine(f"unix://{facts.engine.address}", clock=clock)
        try:
            for swarm in sorted(set(facts.engine.task_containers.values())):
                await remove_containers(engine, swarm)
            async with DockerNetworks(Path(facts.engine.address)) as networks:
                plane = choose().plane(node_id="", runtime=config.runtime / "network", engine=networks, clock=clock)
                try:
                    await plane.clear()
                finally:
                    await plane.close()
        except (EngineError, OSError) as problem:
            say(f"The engine could not be cleared: {problem}")
        finally:
            await engine.close()
    kernel = Kernel(None)
    try:
        kernel.clear(facts.known.view.mark_base)
        kernel.remove_bridges()
    except OSError as problem:
        say(f"The kernel could not be cleared: {problem}")
    finally:
        kernel.close()


def _delete(config: Config, say: Say) -> None:
    """The engine that we started, mounts, folders."""
    engine = EngineLauncher(state=config.data, runtime=config.runtime, clock=SystemClock(), rng=machine.rng())
    end_process(engine.running(), say)
    folders = [config.data, config.runtime, *([Path(config.engine_root) / "engine"] if config.engine_root else [])]
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    below = [point for point in points if any(Path(point).is_relative_to(folder) for folder in folders)]
    for point in sorted(below, key=len, reverse=True):
        subprocess.run(("umount", "-l", point), capture_output=True, check=False)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    if config.engine_root:
        (Path(config.engine_root) / "engine.address").unlink(missing_ok=True)
