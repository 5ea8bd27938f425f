"""Published ports where the kernel may not be programmed: a companion accepts and carries on. See docs/design/data_plane.md."""
