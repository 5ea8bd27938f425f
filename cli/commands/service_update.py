"""`service update` and `service rollback`."""

from __future__ import annotations

from cli import extensions, images, lookup, registry, service_update
from cli.command import ONE, Verb
from cli.errors import CliError
from cli.flags.grammar import UINT, Flag, Words
from cli.flags.service import DETACH, QUIET_PROGRESS, UPDATE
from cli.progress import follow
from cli.session import Session


def _update(session: Session, words: Words) -> None:
    flags, (name,) = words.flags, words.args
    client = session.client
    service = client.get(f"/services/{name}")
    if flags.on("rollback"):
        if any(other not in {"rollback", "detach", "quiet"} for other in flags.names()):
            raise CliError("other flags may not be combined with --rollback")
        _roll_back(session, words, service)
        return
    spec = service_update.update(service["Spec"], flags, names=lookup.names(client, flags, suffix="-add"))
    query: dict[str, object] = {"version": service["Version"]["Index"]}
    auth = None
    if flags.on("with-registry-auth"):
        auth = registry.header(session.config_dir, spec["TaskTemplate"]["ContainerSpec"]["Image"])
    else:
        query["registryAuthFrom"] = "spec"
    warning = None
    if "image" in flags:
        warning = images.pin(client, spec, auth, ask=not flags.on("no-resolve-image"))
    headers = {**extensions.of_flags(flags, service.get("Shoal")), **({"X-Registry-Auth": auth} if auth else {})}
    answer = client.post(f"/services/{service['ID']}/update", spec, query, headers=headers)
    for said in [*((answer or {}).get("Warnings") or []), *([warning] if warning else [])]:
        session.warn(said)
    session.say(name)
    if not flags.on("detach"):
        follow(session, service["ID"], quiet=flags.on("quiet"))


def _rollback(session: Session, words: Words) -> None:
    _roll_back(session, words, session.client.get(f"/services/{words.args[0]}"))


def _roll_back(session: Session, words: Words, service: dict[str, object]) -> None:
    version = service["Version"]
    assert isinstance(version, dict), "every object of the API has a version"
    query = {"version": version["Index"], "rollback": "previous", "registryAuthFrom": "spec"}
    if "to" in words.flags:
        query["rollbackTo"] = words.flags.number("to")
    answer = session.client.post(f"/services/{service['ID']}/update", service["Spec"], query)
    for said in (answer or {}).get("Warnings") or []:
        session.warn(said)
    session.say(words.args[0])
    if not words.flags.on("detach"):
        follow(session, str(service["ID"]), quiet=words.flags.on("quiet"), asked_to_roll_back=True)


update = Verb("update", _update, help="Change a service", arguments="SERVICE", arity=ONE, flags=UPDATE, complete="service")
rollback = Verb(
    "rollback",
    _rollback,
    help="Go back to a service's previous specification",
    arguments="SERVICE",
    arity=ONE,
    flags=(DETACH, QUIET_PROGRESS, Flag("to", UINT, "Version to go back to, as `service history` shows it (default: the previous one)")),
    complete="service",
)
