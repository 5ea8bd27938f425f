"""`shoald`: reads flags and daemon.json, then hands over to the daemon. One clear line and exit status 1 for whatever is wrong."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from cluster.api.errors import InvalidArgument, ShoalError
from cluster.rpc.tls import prepare_environment
from node_agent import config as configuration
from node_agent.config import Config

Command = TypeVar("Command", bound=Callable[..., Any])

REPEATED = ("hosts", "labels", "node-generic-resources")


def fail(message: object) -> NoReturn:
    click.echo(f"shoald: {message}", err=True)
    sys.exit(1)


def load(path: str | None, given: dict[str, Any]) -> Config:
    """The configuration, of the file that was named or the default one if it is there."""
    file = Path(path or configuration.DEFAULT_CONFIG_FILE)
    try:
        content = file.read_bytes() if path or file.exists() else b""
    except OSError as missing:
        raise InvalidArgument(f"unable to read the configuration file {file}: {missing.strerror}") from missing
    given = {**given, "engine_options": configuration.engine_options(given.get("engine_options") or ()) or None}
    flags = configuration.from_flags({name.replace("_", "-"): value for name, value in given.items()}, REPEATED)
    return configuration.merge(content, flags, path=str(file))


def switch(*names: str, help: str) -> Callable[[Command], Command]:  # noqa: A002 - click's own word
    """A flag that says nothing when it is not given, so that the file can."""
    return click.option(*names, is_flag=True, default=None, help=help)


class Shoald(click.Group):
    """The daemon, and the work on its state folder while it does not run. That is imported only when it is called for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return ["doctor", "force-new-cluster", "purge", "rejoin", "restore"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        from node_agent import offline  # noqa: PLC0415 - the daemon itself needs none of it
        from node_agent.doctor.command import doctor  # noqa: PLC0415 - likewise
        from node_agent.purge import purge  # noqa: PLC0415 - likewise

        return {**offline.COMMANDS, "doctor": doctor, "purge": purge}.get(cmd_name)


@click.group(cls=Shoald, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-H", "--host", "hosts", multiple=True, metavar="ADDRESS", help="Where to listen: unix:///path or tcp://address:port.")
@click.option("--data-root", help="State folder (/var/lib/shoal).")
@click.option("--exec-root", help="Runtime folder (/run/shoal).")
@click.option("-p", "--pidfile", help="Where to write the process id.")
@click.option("-G", "--group", help="Group that may use the unix socket (docker).")
@click.option("--config-file", metavar="PATH", help=f"Configuration file ({configuration.DEFAULT_CONFIG_FILE}).")
@switch("-D", "--debug", help="Log everything.")
@click.option("-l", "--log-level", help="debug, info, warn, error or fatal.")
@click.option("--log-format", help="text or json.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Label of this node's engine.")
@click.option(
    "--node-generic-resource", "node_generic_resources", multiple=True, metavar="KIND=VALUE", help="A resource that tasks can reserve."
)
@switch("--tls", help="TLS on tcp addresses.")
@switch("--tlsverify", help="TLS on tcp addresses, and clients must show a certificate.")
@click.option("--tlscacert", metavar="PATH", help="Root that clients' certificates must be of.")
@click.option("--tlscert", metavar="PATH", help="This daemon's certificate for tcp addresses.")
@click.option("--tlskey", metavar="PATH", help="Its key.")
@click.option("--engine", help="auto, dockerd, podman, or the engine's unix:// address.")
@click.option("--engine-root", metavar="PATH", help="An engine that we start has its data in PATH/engine (DATA_ROOT/engine).")
@click.option(
    "--engine-option",
    "engine_options",
    multiple=True,
    metavar="KEY=VALUE",
    help="daemon.json's, for an engine that we start.",
)
@click.option("--socket-rewrite/--no-socket-rewrite", default=None, help="Serve our socket to containers that mount docker.sock.")
@click.option("--metrics-addr", metavar="HOST:PORT", help="Also serve /metrics there.")
@click.option("--hostname", help="This node's name, if not the host's.")
@click.option("--swarm-default-advertise-addr", metavar="ADDRESS", help="What init and join advertise: an address or an interface.")
@click.option("--shutdown-timeout", type=int, help="Seconds that stopping may take (15).")
@click.option("--data-key-rotation", type=int, help="Seconds between two keys of encrypted networks (43200).")
@click.option("--feature-level", type=int, hidden=True, help="Behave as a build of that level: to rehearse an upgrade.")
@switch("--validate", help="Check the configuration and exit.")
@click.version_option("0.1.0", prog_name="shoald")
@click.pass_context
def main(context: click.Context, /, config_file: str | None, validate: bool | None, **given: Any) -> None:
    """Shoal's daemon: one on each host."""
    try:
        config = load(config_file, given)
    except ShoalError as wrong:
        fail(wrong)
    context.obj = config
    if validate:
        click.echo("configuration OK")
    elif context.invoked_subcommand is None:
        _serve(config, lambda: load(config_file, given))


def _serve(config: Config, reload: Callable[[], Config]) -> None:
    if os.geteuid() != 0:
        fail("needs root: it manages networks, namespaces and an engine. Start it with sudo, or through its systemd unit")
    prepare_environment()
    from cluster.rpc import loop  # noqa: PLC0415 - after the environment is set, and not for --help
    from node_agent.daemon import run  # noqa: PLC0415

    try:
        loop.run(run(config, reload))
    except ShoalError as wrong:
        fail(wrong)
    except OSError as wrong:
        if wrong.filename is None:
            raise
        fail(f"cannot use {wrong.filename}: {wrong.strerror}; see to it, or choose another --data-root, --exec-root or --pidfile")
    except ExceptionGroup as several:
        if any(not isinstance(one, ShoalError) for one in _leaves(several)):
            raise
        fail("; ".join(dict.fromkeys(str(one) for one in _leaves(several))))


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in _leaves(one)]
    return [error]


if __name__ == "__main__":
    main()
