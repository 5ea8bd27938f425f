"""The agreement: what every other package imports, and which imports none of them. A closed list."""
