"""`shoal service`: what the swarm runs."""

from __future__ import annotations

from cli.command import Entry, Noun

noun = Noun(
    "service",
    {
        "create": Entry("cli.commands.service_create", "create", "Create a new service"),
        "inspect": Entry("cli.commands.service_inspect", "inspect", "Show one or more services in detail"),
        "logs": Entry("cli.commands.service_logs", "logs_verb", "Show the logs of a service or of one task"),
        "ls": Entry("cli.commands.service_list", "ls", "List services", ("list",)),
        "ps": Entry("cli.commands.service_ps", "ps", "List the tasks of one or more services"),
        "rm": Entry("cli.commands.service_remove", "rm", "Remove one or more services", ("remove",)),
        "rollback": Entry("cli.commands.service_update", "rollback", "Go back to a service's previous specification"),
        "scale": Entry("cli.commands.service_scale", "scale", "Set the number of replicas of one or more services"),
        "update": Entry("cli.commands.service_update", "update", "Change a service"),
    },
    help="Manage services",
)
