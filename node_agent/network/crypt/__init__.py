"""Encrypted networks by a process of its own: frames in from a TAP device, sealed, out by UDP; see docs/design/encryption.md."""
