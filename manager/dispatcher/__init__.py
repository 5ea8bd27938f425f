"""6 DELIVER: assignments to nodes, heartbeats and statuses back."""
