"""Reads the contracts: what each method is called on the wire, what it carries, who may call it. Pure."""

import inspect
import typing
from collections.abc import AsyncIterator, Callable

from msgspec import Struct

from cluster.api.contracts import CONTRACTS
from cluster.api.states import Role


class Method(Struct, frozen=True, kw_only=True):
    """One RPC of a contract."""

    contract: str
    name: str
    request: object
    """The type of one request message."""
    response: object
    request_streams: bool
    response_streams: bool
    roles: frozenset[Role]

    @property
    def service(self) -> str:
        return f"shoal.{self.contract}"

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.name}"


def methods_of(contract: type) -> tuple[Method, ...]:
    """The contract's methods in the order of their definition. Raises TypeError for one without roles: a bug, found at start."""
    found = []
    for name, function in vars(contract).items():
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        roles = getattr(function, "allowed_roles", None)
        if not roles:
            raise TypeError(f"{contract.__name__}.{name} does not say which roles may call it")
        found.append(describe(function, roles))
    return tuple(found)


def describe(function: Callable[..., object], roles: frozenset[Role] | None = None) -> Method:
    """A contract's method, from its function."""
    hints = typing.get_type_hints(function)
    request_streams = "requests" in hints
    request = hints["requests" if request_streams else "request"]
    response = hints["return"]
    response_streams = typing.get_origin(response) is AsyncIterator
    contract, name = function.__qualname__.split(".")[-2:]
    return Method(
        contract=contract,
        name=name,
        request=typing.get_args(request)[0] if request_streams else request,
        response=typing.get_args(response)[0] if response_streams else response,
        request_streams=request_streams,
        response_streams=response_streams,
        roles=roles if roles is not None else getattr(function, "allowed_roles", frozenset()),
    )


def all_methods() -> tuple[Method, ...]:
    return tuple(method for contract in CONTRACTS for method in methods_of(contract))
