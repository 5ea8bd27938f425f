"""This machine: the daemon that builds every object, its HTTP API and its data plane."""
