"""The asyncio habits of the house: supervised background tasks, backoff, clock, latest-value channel."""
