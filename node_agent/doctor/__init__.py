"""`shoald doctor`: what is wrong on this host, and what each of it wants. Facts are gathered thinly, everything else is pure."""
