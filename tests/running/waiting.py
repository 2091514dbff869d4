"""Waiting for what other processes do."""

import asyncio

PATIENCE_S = 120.0  # for what takes 10 s where nothing else runs


async def until(condition):
    """Wait until an awaited condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.1)
