import asyncio

import pytest

from smsgwd.errors import RequestError
from smsgwd.otp.memory import Memory
from smsgwd.otp.seal import Sealed


def sealed(number: int, expires_at: float) -> Sealed:
    """A challenge."""
    return Sealed(number.to_bytes(12, "big"), expires_at, "123456")


# --- the memory -----------------------------------------------------------------------------------------------------


def test_counts_are_forgotten_with_their_challenge() -> None:
    """Nothing is kept of a challenge that has expired, whatever order they expire in."""

    async def scenario() -> None:
        store = Memory()
        for number in range(1000):
            await store.judge(sealed(number, 100 + number * 7919 % 1000), right=number % 2 == 0, now=0, attempts=3)
        assert len(store) == 1000
        for now in (99, 350, 1099, 1100):
            await store.judge(sealed(1000, 2000), right=False, now=now, attempts=9)
            assert len(store) == 1 + sum(end > now for end in range(100, 1100))

    asyncio.run(scenario())


def test_tried_challenges_are_bounded() -> None:
    """When no more can be counted, a try is refused and not let through; those that are known go on."""

    async def scenario() -> None:
        store = Memory(most_tried=2)
        for number in (1, 2):
            await store.judge(sealed(number, 10), right=False, now=0, attempts=3)
        with pytest.raises(RequestError, match="too many challenges") as caught:
            await store.judge(sealed(3, 10), right=True, now=0, attempts=3)
        assert caught.value.code == "overloaded"
        assert (await store.judge(sealed(1, 10), right=True, now=0, attempts=3)).verified
        assert (await store.judge(sealed(3, 20), right=True, now=10, attempts=3)).verified

    asyncio.run(scenario())


def test_the_oldest_failures_are_forgotten_first() -> None:
    """Of too many names that failed the one goes that has failed the longest time ago; asking keeps none."""

    async def scenario() -> None:
        store = Memory(most_recent=3)
        for key in ("a", "b", "c", "a"):
            await store.failed(key, now=0, window_s=60)
        assert await store.failures("b", now=0, window_s=60) == 1
        await store.failed("x" * 1_000_000, now=1, window_s=60)
        assert [await store.failures(key, now=1, window_s=60) for key in "abc"] == [2, 0, 1]
        assert len(store) == 3
        await store.failed("d", now=61, window_s=60)
        assert len(store) == 1

    asyncio.run(scenario())


def test_the_oldest_transactions_are_forgotten_first() -> None:
    """Of too many open transactions the one goes that was remembered the longest time ago."""

    async def scenario() -> None:
        store = Memory(most_recent=2)
        for user in ("a", "b", "a", "c"):
            await store.remember(user, f"id of {user}", now=0, expires_at=10)
        assert [await store.recall(user, now=0) for user in "abc"] == ["id of a", None, "id of c"]

    asyncio.run(scenario())
