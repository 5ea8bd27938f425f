"""gRPC binding of the contracts, and the identity that its mutual TLS rests on."""
