"""`shoal service`: what the swarm runs."""

from __future__ import annotations

from cli.command import Entry, Noun

noun = Noun(
    "service",
    {
        "create": Entry("cli.commands.service_create", "create", "Create a new service"),
        "history": Entry("cli.commands.service_history", "history", "Show a service's earlier specifications"),
        "inspect": Entry("cli.commands.service_inspect", "inspect", "Show one or more services in detail"),
        "logs": Entry("cli.commands.service_logs", "logs_verb", "Show the logs of a service or of one task"),
        "ls": Entry("cli.commands.service_list", "ls", "List services", ("list",)),
        "ps": Entry("cli.commands.service_ps", "ps", "List the tasks of one or more services"),
        "rebalance": Entry("cli.commands.service_rebalance", "rebalance", "Spread the tasks of services evenly over the nodes"),
        "rm": Entry("cli.commands.service_remove", "rm", "Remove one or more services", ("remove",)),
        "rollback": Entry("cli.commands.service_update", "rollback", "Go back to a service's previous specification"),
        "scale": Entry("cli.commands.service_scale", "scale", "Set the number of replicas of one or more services"),
        "update": Entry("cli.commands.service_update", "update", "Change a service"),
        "why": Entry("cli.commands.why", "service_why", "Tell why services are not as they should be"),
    },
    help="Manage services",
)
