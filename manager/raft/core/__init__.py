"""The consensus algorithm as a pure step function: inputs in; messages, entries, hard state out.

Read in this order: `entries` and `membership` (what is agreed on), `messages`, `events`, `effects` (the vocabulary),
`log`, `progress`, `quorum` (the parts), `state` and `roles` (what a member is), then one module for each thing it does:
`election`, `replication`, `following`, `reads`, `transfer`, `reconfigure`. `core` puts an event to the right one.

Nothing here knows of time, threads, sockets or disks: time is a `Tick`, randomness is an argument, writing to disk is an
effect whose completion comes back as an event. "Paper" is Ongaro and Ousterhout, In Search of an Understandable Consensus
Algorithm (extended version); "thesis" is Ongaro's Consensus: Bridging Theory and Practice.
"""
