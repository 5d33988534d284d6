"""The pure decision core: (state, event, now) -> commands; no I/O, clock, randomness, logging or asyncio."""
