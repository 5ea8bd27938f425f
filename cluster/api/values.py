"""What a value is here: frozen, keyword-only, named on the wire as Docker names it."""

import re

import msgspec

# Words that the Docker API does not write as Capitalised; every other word of a Python name is.
_WORDS = {
    "id": "ID",
    "ids": "IDs",
    "cpu": "CPU",
    "cpus": "CPUs",
    "uid": "UID",
    "gid": "GID",
    "tty": "TTY",
    "dns": "DNS",
    "tls": "TLS",
    "ca": "CA",
    "ip": "IP",
    "ipam": "IPAM",
    "pid": "PID",
    "oom": "Oom",
    "ips": "IPs",
    "os": "OS",
    "selinux": "SELinux",
    "url": "URL",
}


def wire_name(python_name: str) -> str:
    """`container_id` -> `ContainerID`: the Docker API's spelling (v1.51) of one of our attributes."""
    return "".join(_WORDS.get(word) or word[:1].upper() + word[1:] for word in re.split("_+", python_name) if word)


class Value(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, rename=wire_name):
    """An immutable value object; its wire names are the Docker API's, members at their default are left out."""
