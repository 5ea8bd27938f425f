"""`service create`: step 1 of a service's path."""

from __future__ import annotations

from pathlib import Path

from cli import extensions, images, lookup, registry, service_spec
from cli.command import ONE_OR_MORE, Verb
from cli.errors import CliError
from cli.flags.grammar import Words
from cli.flags.service import CREATE
from cli.progress import follow
from cli.session import Session


def _create(session: Session, words: Words) -> None:
    flags, (image, *args) = words.flags, words.args
    client = session.client
    spec = service_spec.create(flags, image, args, names=lookup.names(client, flags), read=read_file, env=session.env)
    auth = registry.header(session.config_dir, image) if flags.on("with-registry-auth") else None
    warning = images.pin(client, spec, auth, ask=not flags.on("no-resolve-image"))
    headers = {**extensions.of_flags(flags), **({"X-Registry-Auth": auth} if auth else {})}
    created = client.post("/services/create", spec, headers=headers)
    for said in [*(created.get("Warnings") or []), *([warning] if warning else [])]:
        session.warn(said)
    session.say(created["ID"])
    if not flags.on("detach"):
        follow(session, created["ID"], quiet=flags.on("quiet"))


def read_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as broken:
        raise CliError(f"cannot read {path}: {getattr(broken, 'strerror', None) or broken}") from broken


create = Verb(
    "create",
    _create,
    help="Create a new service",
    arguments="IMAGE [COMMAND] [ARG...]",
    arity=ONE_OR_MORE,
    flags=CREATE,
    interspersed=False,
)
