"""The Docker Engine API over HTTP: one module a noun, and the proxy to the engine."""
