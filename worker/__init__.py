"""Runs tasks: keeps this node's containers as the manager assigned them."""
