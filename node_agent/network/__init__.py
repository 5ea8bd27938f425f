"""The data plane: what the kernel must hold (pure), and the hands that put it there."""
