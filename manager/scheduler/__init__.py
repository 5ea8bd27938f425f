"""5 PLACE: which node runs which task, and why no node can."""
