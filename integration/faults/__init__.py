"""A real cluster is hurt in every way that machines, processes and people know; what was acknowledged stays, what runs goes on."""
