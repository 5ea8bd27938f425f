"""What `iptables-save` and `iptables-legacy-save` print, as a firewall. Pure."""

import shlex
from collections.abc import Iterator

from node_agent.doctor.packets import ACCEPT, DROP, GOTO, JUMP, RETURN, Chain, Condition, Firewall, Rule

_FIELDS = {
    "-p": "protocol",
    "-s": "source",
    "-d": "target",
    "-i": "enters",
    "-o": "leaves",
    "--dport": "port",
    "--dports": "port",
    "--ctstate": "state",
    "--state": "state",
}
_TARGETS = {"ACCEPT": ACCEPT, "DROP": DROP, "REJECT": DROP, "RETURN": RETURN}
_PASS_ON = frozenset({"LOG", "NFLOG", "MARK", "CONNMARK", "TRACE", "TCPMSS", "CT", "CHECKSUM", "DSCP", "ULOG", "CLASSIFY"})
_SAYS_NOTHING = frozenset({"-m", "--comment"})
_HOOKS = {"INPUT": "input", "FORWARD": "forward"}


def read(saved: str, *, tool: str) -> Firewall:
    """The table `filter`, where alone packets are to be dropped; `tool` names it."""
    policies: dict[str, str] = {}
    rules: dict[str, list[Rule]] = {}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif table == "filter" and line.startswith(":"):
            name, policy, *_ = line[1:].split()
            policies[name] = _TARGETS.get(policy, ACCEPT)
            rules[name] = []
        elif table == "filter" and line.startswith("-A "):
            rules.setdefault(line.split()[1], []).append(_rule(line))
    chains = {
        name: Chain(rules=tuple(found), hook=_HOOKS.get(name, ""), policy=policies.get(name, ACCEPT)) for name, found in rules.items()
    }
    return Firewall(name=tool, chains=chains)


def _rule(line: str) -> Rule:
    words = shlex.split(line)[2:]
    action = chain = ""
    for flag, kind in (("-j", JUMP), ("-g", GOTO)):
        if flag in words:
            target = words[words.index(flag) + 1]
            action = _TARGETS.get(target, "" if target in _PASS_ON else kind)
            chain = target if action in (JUMP, GOTO) else ""
            words = words[: words.index(flag)]
    return Rule(text=line, conditions=tuple(_conditions(words)), action=action, chain=chain)


def _conditions(words: list[str]) -> Iterator[Condition]:
    negated, at = False, 0
    module = ""
    while at < len(words):
        word = words[at]
        if word == "!":
            negated, at = True, at + 1
            continue
        value = words[at + 1] if at + 1 < len(words) else ""
        takes_value = bool(value) and value != "!" and not value.startswith("-")
        if word == "-m":
            module = value
        elif word not in _SAYS_NOTHING:
            yield _condition(word, value if takes_value else "", module, negated=negated)
        negated, at = False, at + 1 + takes_value


def _condition(word: str, value: str, module: str, *, negated: bool) -> Condition:
    field = _FIELDS.get(word, word)
    if word == "--mark":
        field = "mark" if module == "connmark" else word
    values = tuple(part.replace(":", "-") if field == "port" else part.lower() for part in value.split(","))
    if field in ("enters", "leaves"):
        values = (value[:-1] + "*" if value.endswith("+") else value,)
    return Condition(field=field, values=values, negated=negated)
