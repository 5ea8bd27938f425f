"""`shoal swarm`: begin one, join one, leave it, and the settings that all of it shares."""

from __future__ import annotations

from typing import Any

from cli.client import Json
from cli.command import NONE, ONE, Entry, Noun, Verb
from cli.errors import CliError
from cli.flags.grammar import SWITCH, TEXT, UINT, Flag, Words
from cli.flags.swarm import JOINING, SETTINGS, SUBNETS, merged
from cli.session import Session

ROLES = ("worker", "manager")


def _init(session: Session, words: Words) -> None:
    flags, client = words.flags, session.client
    spec = merged(
        {"Orchestration": {}, "Raft": {}, "Dispatcher": {}, "CAConfig": {}, "EncryptionConfig": {"AutoLockManagers": False}}, flags
    )
    node = client.post(
        "/swarm/init",
        {
            "ListenAddr": flags.text("listen-addr", "0.0.0.0:2377"),
            "AdvertiseAddr": flags.text("advertise-addr"),
            "DataPathAddr": flags.text("data-path-addr"),
            "DataPathPort": flags.number("data-path-port") or 0,
            "DefaultAddrPool": flags.many("default-addr-pool"),
            "SubnetSize": flags.value("default-addr-pool-mask-length", 24),
            "ForceNewCluster": flags.on("force-new-cluster"),
            "AutoLockManagers": flags.on("autolock"),
            "Availability": flags.text("availability").lower(),
            "Spec": spec,
        },
    )
    session.say(f"Swarm initialized: current node ({node}) is now a manager.\n")
    _say_join(session, "worker", client.get("/swarm"))
    session.say("To add a manager to this swarm, run 'shoal swarm join-token manager' and follow the instructions.\n")
    if flags.on("autolock"):
        _say_unlock(session, client.get("/swarm/unlockkey")["UnlockKey"])


def _say_join(session: Session, role: str, swarm: Json) -> None:
    address = _manager_address(session)
    session.say(f"To add a {role} to this swarm, run the following command:\n")
    session.say(f"    shoal swarm join --token {swarm['JoinTokens'][role.capitalize()]} {address}\n")


def _manager_address(session: Session) -> str:
    """The address at which this node takes in others."""
    node_id = ((session.client.get("/info") or {}).get("Swarm") or {}).get("NodeID")
    node = session.client.get(f"/nodes/{node_id}") if node_id else {}
    return str((node.get("ManagerStatus") or {}).get("Addr") or "")


def _say_unlock(session: Session, key: str) -> None:
    session.say("To unlock a swarm manager after it restarts, run the `shoal swarm unlock`\ncommand and provide the following key:\n")
    session.say(f"    {key}\n")
    session.say("Remember to store this key in a password manager, since without it you\nwill not be able to restart the manager.")


def _join(session: Session, words: Words) -> None:
    flags, client = words.flags, session.client
    client.post(
        "/swarm/join",
        {
            "ListenAddr": flags.text("listen-addr", "0.0.0.0:2377"),
            "AdvertiseAddr": flags.text("advertise-addr"),
            "DataPathAddr": flags.text("data-path-addr"),
            "RemoteAddrs": [words.args[0]],
            "JoinToken": flags.text("token"),
            "Availability": flags.text("availability").lower(),
        },
    )
    swarm = (client.get("/info") or {}).get("Swarm") or {}
    session.say(f"This node joined a swarm as a {'manager' if swarm.get('ControlAvailable') else 'worker'}.")


def _leave(session: Session, words: Words) -> None:
    session.client.post("/swarm/leave", query={"force": True} if words.flags.on("force") else None)
    session.say("Node left the swarm.")


def _update(session: Session, words: Words) -> None:
    if not list(words.flags.names()):
        raise CliError("nothing to update: name a setting, as in --task-history-limit 3 (see 'shoal swarm update --help')")
    swarm = session.client.get("/swarm")
    locked = ((swarm["Spec"].get("EncryptionConfig") or {}).get("AutoLockManagers")) or False
    change(session, swarm, merged(swarm["Spec"], words.flags))
    session.say("Swarm updated.")
    if words.flags.on("autolock") and not locked:
        _say_unlock(session, session.client.get("/swarm/unlockkey")["UnlockKey"])


def change(session: Session, swarm: Json, spec: Json, **rotate: bool) -> None:
    """Post the swarm's next spec, and ask for new tokens or keys."""
    asked: dict[str, Any] = {
        name: str(rotate.get(name, False)).lower() for name in ("rotateWorkerToken", "rotateManagerToken", "rotateManagerUnlockKey")
    }
    session.client.post("/swarm/update", spec, {"version": swarm["Version"]["Index"], **asked})


def _join_token(session: Session, words: Words) -> None:
    role, quiet = words.args[0], words.flags.on("quiet")
    if role not in ROLES:
        raise CliError(f"unknown role {role}: say worker or manager")
    swarm = session.client.get("/swarm")
    if words.flags.on("rotate"):
        change(session, swarm, swarm["Spec"], **{f"rotate{role.capitalize()}Token": True})
        if not quiet:
            session.say(f"Successfully rotated {role} join token.\n")
        swarm = session.client.get("/swarm")
    if quiet:
        session.say(swarm["JoinTokens"][role.capitalize()])
    else:
        _say_join(session, role, swarm)


def _unlock_key(session: Session, words: Words) -> None:
    quiet = words.flags.on("quiet")
    if words.flags.on("rotate"):
        swarm = session.client.get("/swarm")
        if not (swarm["Spec"].get("EncryptionConfig") or {}).get("AutoLockManagers"):
            raise CliError("cannot rotate because autolock is not turned on")
        change(session, swarm, swarm["Spec"], rotateManagerUnlockKey=True)
        if not quiet:
            session.say("Successfully rotated manager unlock key.\n")
    key = session.client.get("/swarm/unlockkey")["UnlockKey"]
    if not key:
        raise CliError("no unlock key is set")
    if quiet:
        session.say(key)
    else:
        _say_unlock(session, key)


def _unlock(session: Session, _: Words) -> None:
    swarm = (session.client.get("/info") or {}).get("Swarm") or {}
    state = swarm.get("LocalNodeState")
    if state == "inactive":
        raise CliError("Error: This node is not part of a swarm")
    if state != "locked":
        raise CliError("Error: swarm is not locked")
    session.client.post("/swarm/unlock", {"UnlockKey": _asked_key(session)})


def _asked_key(session: Session) -> str:
    """The key, from a terminal without echo or from whatever stands in for one."""
    if session.stdin.isatty():
        import getpass  # noqa: PLC0415 - only where somebody types

        return getpass.getpass("Please enter unlock key: ").strip()
    return session.stdin.readline().decode().strip()


init = Verb(
    "init",
    _init,
    help="Start a swarm, with this node as its first manager",
    arity=NONE,
    flags=(
        *JOINING,
        *SETTINGS,
        Flag("data-path-port", UINT, "Port for the traffic of containers (1024 - 49151); 0 is 4789"),
        Flag("default-addr-pool", SUBNETS, "Pools that the subnets of networks are taken from"),
        Flag("default-addr-pool-mask-length", UINT, "Mask length of the subnets taken from the pools", default="24"),
        Flag("force-new-cluster", SWITCH, "Start anew as the only manager, from this node's state"),
    ),
)
join = Verb(
    "join",
    _join,
    help="Join a swarm, as a worker or a manager",
    arguments="HOST:PORT",
    arity=ONE,
    flags=(*JOINING, Flag("token", TEXT, "Token that lets this node in")),
)
leave = Verb(
    "leave", _leave, help="Leave the swarm", arity=NONE, flags=(Flag("force", SWITCH, "Leave in spite of the warnings", short="f"),)
)
update = Verb("update", _update, help="Change the swarm's settings", arity=NONE, flags=SETTINGS)
join_token = Verb(
    "join-token",
    _join_token,
    help="Show or rotate the tokens that let nodes in",
    arguments="(worker|manager)",
    arity=ONE,
    flags=(Flag("quiet", SWITCH, "Show only the token", short="q"), Flag("rotate", SWITCH, "Make a new token; the old one is void")),
    complete="worker|manager",
)
unlock_key = Verb(
    "unlock-key",
    _unlock_key,
    help="Show or rotate the key that unlocks managers",
    arity=NONE,
    flags=(Flag("quiet", SWITCH, "Show only the key", short="q"), Flag("rotate", SWITCH, "Make a new key; the old one is void")),
)
unlock = Verb("unlock", _unlock, help="Unlock this manager", arity=NONE)

noun = Noun(
    "swarm",
    {
        "ca": Entry("cli.commands.swarm_ca", "ca", "Show and rotate the root CA"),
        "init": Entry(__name__, "init", init.help or ""),
        "join": Entry(__name__, "join", join.help or ""),
        "join-token": Entry(__name__, "join_token", join_token.help or ""),
        "leave": Entry(__name__, "leave", leave.help or ""),
        "unlock": Entry(__name__, "unlock", unlock.help or ""),
        "unlock-key": Entry(__name__, "unlock_key", unlock_key.help or ""),
        "update": Entry(__name__, "update", update.help or ""),
    },
    help="Manage the swarm",
)
