"""`service scale`."""

from __future__ import annotations

from cli.command import ONE_OR_MORE, Verb
from cli.errors import CliError, Unconverged, Usage
from cli.flags import values
from cli.flags.grammar import Words
from cli.flags.service import DETACH
from cli.progress import follow
from cli.session import Session


def _scale(session: Session, words: Words) -> None:
    """Scale each of them; one that cannot be does not keep the others from it."""
    wanted = [_pair(word) for word in words.args]
    scaled, failed, stuck = [], [], []
    for name, replicas in wanted:
        try:
            scaled.append(_scale_one(session, name, replicas))
        except CliError as refused:
            failed.append(f"{name}: {refused.message}")
    for service_id in scaled if not words.flags.on("detach") else ():
        try:
            follow(session, service_id)
        except Unconverged as unconverged:
            stuck.append(unconverged.message)
    if failed:
        raise CliError("\n".join([*failed, *stuck]))
    if stuck:
        raise Unconverged("\n".join(stuck))


def _pair(word: str) -> tuple[str, str]:
    name, equals, replicas = word.partition("=")
    if not equals or not name or not replicas:
        raise Usage(f"invalid scale specifier '{word}'.")
    return name, replicas


def _scale_one(session: Session, name: str, replicas: str) -> str:
    try:
        count = values.unsigned(replicas)
    except ValueError as wrong:
        raise CliError(f"invalid replicas value {replicas}: {wrong}") from None
    service = session.client.get(f"/services/{name}")
    spec = service["Spec"]
    mode = spec.get("Mode") or {}
    if mode.get("Replicated") is not None:
        mode["Replicated"]["Replicas"] = count
    elif mode.get("ReplicatedJob") is not None:
        mode["ReplicatedJob"]["TotalCompletions"] = count
    else:
        raise CliError("scale can only be used with replicated or replicated-job mode")
    answer = session.client.post(
        f"/services/{service['ID']}/update", spec, {"version": service["Version"]["Index"], "registryAuthFrom": "spec"}
    )
    for said in (answer or {}).get("Warnings") or []:
        session.warn(said)
    session.say(f"{name} scaled to {count}")
    return str(service["ID"])


scale = Verb(
    "scale",
    _scale,
    help="Set the number of replicas of one or more services",
    arguments="SERVICE=REPLICAS [SERVICE=REPLICAS...]",
    arity=ONE_OR_MORE,
    flags=(DETACH,),
    complete="service",
)
