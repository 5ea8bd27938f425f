"""Ports that are published on one host address: the wish stands in the extensions, what follows from it in the spec's ports. Pure."""

from ipaddress import AddressValueError, IPv4Address

from msgspec.structs import replace

from cluster.api.errors import InvalidArgument
from cluster.api.specs import Extensions, PortConfig, ServiceSpec


def publish_key(port: PortConfig) -> str:
    return f"{port.published_port}/{port.protocol}"


def with_addresses(spec: ServiceSpec, extensions: Extensions) -> tuple[ServiceSpec, Extensions]:
    """Both in step: ports have their addresses, and wishes for ports that are no more are forgotten. `spec` is normalized.

    Raises InvalidArgument for an address that is none, and for one in the spec that the extensions don't name: the next client that posts
    the spec back without it would open the port to everybody.
    """
    for key, address in extensions.publish_on.items():
        _check(key, address)
    endpoint = spec.endpoint_spec
    ports = () if endpoint is None else endpoint.ports
    kept = {key: extensions.publish_on[key] for key in map(publish_key, ports) if key in extensions.publish_on}
    for port in ports:
        if port.host_ip not in ("", kept.get(publish_key(port))):
            raise InvalidArgument(
                f"port {publish_key(port)}: HostIP {port.host_ip} is not taken from a spec, which other clients post back without it; "
                f"publish {port.host_ip}:{port.published_port}:{port.target_port} by shoal, or give the service the label "
                f"io.shoal.publish-on={publish_key(port)}={port.host_ip}"
            )
    if endpoint is not None:
        placed = tuple(replace(port, host_ip=kept.get(publish_key(port), "")) for port in ports)
        spec = replace(spec, endpoint_spec=replace(endpoint, ports=placed))
    return spec, replace(extensions, publish_on=kept)


def _check(key: str, address: str) -> None:
    number, _, protocol = key.partition("/")
    if not number.isdecimal() or not 1 <= int(number) <= 65535 or protocol not in ("tcp", "udp", "sctp"):
        raise InvalidArgument(f"publish-on {key!r}: ports are written like 8080/tcp")
    try:
        if IPv4Address(address).is_unspecified:
            raise AddressValueError
    except AddressValueError:
        raise InvalidArgument(f"publish-on {key}: {address!r} is no IPv4 address of a host") from None
