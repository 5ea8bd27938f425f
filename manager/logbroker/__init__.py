"""Orders for log streams: who reads, which tasks, whom the worker dials."""
