"""Names of services and tasks: a small process of its own on each node."""
