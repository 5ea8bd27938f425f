"""Other people's tools against a real swarm: `make clients`."""
