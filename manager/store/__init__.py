"""2 REMEMBER: immutable snapshots, the pure apply, indexes, the Proposer port."""
