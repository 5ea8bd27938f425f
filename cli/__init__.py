"""The shoal command: a client of the Docker API with Docker's nouns, verbs and flags."""
