"""3 WANT: how many tasks each service should have, and which ones."""
