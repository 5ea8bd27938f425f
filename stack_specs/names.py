"""How a stack names what is its own: the prefix, and the labels that it is found by."""

NAMESPACE = "com.docker.stack.namespace"
"""The label that every object of a stack has, with the stack's name."""
IMAGE = "com.docker.stack.image"
"""The label that a service has, with the image as the stack file writes it."""


def scoped(stack_name: str, key: str) -> str:
    """The name of an object that its stack file calls `key`."""
    return f"{stack_name}_{key}"


def is_user_defined(network: str) -> bool:
    """Whether somebody has to make this network; the others are on every engine by themselves, and know no aliases."""
    return network not in ("default", "bridge", "host", "none") and not network.startswith("container:")
