"""2b AGREE: driver, log storage, snapshots and transport around the pure core."""
