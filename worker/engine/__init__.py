"""Engines behind the Engine port: Docker's API (dockerd, Podman) and a scripted twin in memory."""
