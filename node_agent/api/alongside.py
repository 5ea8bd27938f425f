"""A task that lives as long as a block: what a TaskGroup is for, where errors must keep their type and generators may be closed."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def alongside(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None, None]:
    """Run something beside the block, which ends it; if it failed by itself, that is the block's error too."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (failed := task.exception()) is not None:
            raise failed
