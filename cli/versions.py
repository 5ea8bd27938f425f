"""Which client this is, and the newest API that it was written against."""

from __future__ import annotations

VERSION = "0.1.0"
API_VERSION = "1.51"
