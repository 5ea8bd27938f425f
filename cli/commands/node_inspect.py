"""`node inspect`, as JSON or for people."""

from __future__ import annotations

from cli import human
from cli.client import Json
from cli.command import ONE_OR_MORE, Verb
from cli.flags.grammar import Words
from cli.inspection import FLAGS, inspect_each
from cli.session import Session
from cli.tasks import node_id, state
from cli.template import govalue


def _inspect(session: Session, words: Words) -> None:
    def fetch(name: str) -> Json:
        return session.client.get(f"/nodes/{node_id(session.client, name) if name == 'self' else name}")

    inspect_each(session, words, fetch, pretty=pretty)


def pretty(node: Json) -> str:
    """The facts of a node, one a line."""
    spec, description, status = node.get("Spec") or {}, node.get("Description") or {}, node.get("Status") or {}
    lines = [f"ID:\t\t\t{node['ID']}"]
    if spec.get("Name"):
        lines.append(f"Name:\t\t\t{spec['Name']}")
    if labels := spec.get("Labels"):
        lines += ["Labels:", *(f" - {key}={value}" for key, value in sorted(labels.items()))]
    lines += [
        f"Hostname:\t\t{description.get('Hostname', '')}",
        f"Joined at:\t\t{govalue.text(node.get('CreatedAt', ''))}",
        "Status:",
        f" State:\t\t\t{state(status.get('State'))}",
    ]
    if status.get("Message"):
        lines.append(f" Message:\t\t{state(status['Message'])}")
    lines += [f" Availability:\t\t{state(spec.get('Availability'))}", f" Address:\t\t{status.get('Addr', '')}"]
    if manager := node.get("ManagerStatus"):
        lines += [
            "Manager Status:",
            f" Address:\t\t{manager.get('Addr', '')}",
            f" Raft Status:\t\t{state(manager.get('Reachability'))}",
            f" Leader:\t\t{'Yes' if manager.get('Leader') else 'No'}",
        ]
    return "\n".join([*lines, *_machine(description), *_tls(description.get("TLSInfo") or {})])


def _machine(description: Json) -> list[str]:
    platform, resources, engine = (description.get(member) or {} for member in ("Platform", "Resources", "Engine"))
    lines = [
        "Platform:",
        f" Operating System:\t{platform.get('OS', '')}",
        f" Architecture:\t\t{platform.get('Architecture', '')}",
        "Resources:",
        f" CPUs:\t\t\t{(resources.get('NanoCPUs') or 0) // 1_000_000_000}",
        f" Memory:\t\t{human.bytes_size(resources.get('MemoryBytes') or 0)}",
    ]
    plugins: dict[str, list[str]] = {}
    for plugin in engine.get("Plugins") or ():
        plugins.setdefault(plugin["Type"], []).append(plugin["Name"])
    if plugins:
        lines += ["Plugins:", *(f" {kind}:\t\t{', '.join(names)}" for kind, names in sorted(plugins.items()))]
    lines.append(f"Engine Version:\t\t{engine.get('EngineVersion', '')}")
    if labels := engine.get("Labels"):
        lines += ["Engine Labels:", *(f" - {key}={value}" for key, value in sorted(labels.items()))]
    return lines


def _tls(tls: Json) -> list[str]:
    if not tls:
        return []
    return [
        "TLS Info:",
        " TrustRoot:",
        str(tls.get("TrustRoot", "")),
        f" Issuer Subject:\t{tls.get('CertIssuerSubject', '')}",
        f" Issuer Public Key:\t{tls.get('CertIssuerPublicKey', '')}",
    ]


inspect = Verb(
    "inspect",
    _inspect,
    help="Show one or more nodes in detail",
    arguments="self|NODE [NODE...]",
    arity=ONE_OR_MORE,
    flags=FLAGS,
    complete="node",
)
