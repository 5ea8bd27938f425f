"""1 ADMIT: authorize, validate and propose what a client asks for."""
