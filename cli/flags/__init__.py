"""What the user types after a verb: the flag grammar, and the values that flags take."""
