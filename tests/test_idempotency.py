import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from smsgwd.errors import RequestError
from smsgwd.idempotency import Idempotency, check_key
from smsgwd.outcome import Kind, Outcome, Reason

UID = "uid:1000"
ACCEPTED = Outcome(Kind.ACCEPTED, message_ids=("m1",))


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    now: float = 0.0

    def __call__(self) -> float:
        """What the clock shows."""
        return self.now


@dataclass
class Provider:
    """Starts sends that end when a test says so."""

    started: list[asyncio.Future[Outcome]] = field(default_factory=list)

    def start(self) -> asyncio.Future[Outcome]:
        """A send that runs until the test ends it."""
        self.started.append(asyncio.get_running_loop().create_future())
        return self.started[-1]

    def starting(self, outcome: Outcome) -> Callable[[], asyncio.Future[Outcome]]:
        """A send that has ended as soon as it began."""

        def start() -> asyncio.Future[Outcome]:
            future = self.start()
            future.set_result(outcome)
            return future

        return start


async def settle() -> None:
    """Let callbacks that are due run."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_the_second_request_gets_the_first_ones_outcome() -> None:
    """A key that came before with the same body is answered with what was, and sends nothing."""

    async def scenario() -> None:
        provider, memory = Provider(), Idempotency()
        first = await memory.once(UID, "k", "d", provider.starting(ACCEPTED))
        await settle()
        second = await memory.once(UID, "k", "d", provider.start)
        assert first is second is ACCEPTED
        assert len(provider.started) == 1

    asyncio.run(scenario())


def test_a_running_send_is_shared_and_survives_whoever_waits() -> None:
    """While the first send runs a second request waits for it, and one that goes away harms neither."""

    async def scenario() -> None:
        provider, memory = Provider(), Idempotency()
        waiting = [asyncio.create_task(memory.once(UID, "k", "d", provider.start)) for _ in range(3)]
        await settle()
        waiting[0].cancel()
        waiting[1].cancel()
        await settle()
        provider.started[0].set_result(ACCEPTED)
        assert await waiting[2] is ACCEPTED
        assert len(provider.started) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("caller", "key", "sends"), [(UID, "k", 1), (UID, "other", 2), ("uid:1001", "k", 2)], ids=["same", "key", "caller"]
)
def test_a_key_belongs_to_its_caller(caller: str, key: str, sends: int) -> None:
    """Another key or another caller is another send."""

    async def scenario() -> None:
        provider, memory = Provider(), Idempotency()
        await memory.once(UID, "k", "d", provider.starting(ACCEPTED))
        await memory.once(caller, key, "d", provider.starting(ACCEPTED))
        assert len(provider.started) == sends

    asyncio.run(scenario())


@pytest.mark.parametrize("ended", [True, False])
def test_another_body_is_refused(ended: bool) -> None:
    """The same key with another body is idempotency-mismatch, while the first runs and after it."""

    async def scenario() -> None:
        provider, memory = Provider(), Idempotency()
        first = asyncio.create_task(memory.once(UID, "k", "d", provider.start))
        await settle()
        if ended:
            provider.started[0].set_result(ACCEPTED)
            await first
        with pytest.raises(RequestError) as caught:
            await memory.once(UID, "k", "another", provider.start)
        assert caught.value.code == "idempotency-mismatch"
        first.cancel()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("outcome", "kept"),
    [
        (ACCEPTED, True),
        (Outcome(Kind.REJECTED, Reason.PROVIDER), True),
        (Outcome(Kind.UNKNOWN, Reason.TIMEOUT), True),
        (Outcome(Kind.UNSENT, Reason.UNREACHABLE), False),
    ],
    ids=lambda value: str(value.kind) if isinstance(value, Outcome) else "",
)
def test_unsent_is_not_kept(outcome: Outcome, kept: bool) -> None:
    """An unsent message may be tried again under its key; every other outcome stands."""

    async def scenario() -> None:
        provider, memory = Provider(), Idempotency()
        await memory.once(UID, "k", "d", provider.starting(outcome))
        await settle()
        await memory.once(UID, "k", "d", provider.starting(ACCEPTED))
        assert len(provider.started) == (1 if kept else 2)

    asyncio.run(scenario())


def test_a_refused_request_is_not_kept() -> None:
    """What was refused before it became a message may come again, and nobody hears of an exception never retrieved."""

    async def scenario() -> None:
        provider, memory = Provider(), Idempotency()
        waiting = asyncio.create_task(memory.once(UID, "k", "d", provider.start))
        await settle()
        waiting.cancel()
        provider.started[0].set_exception(RequestError("unknown-gateway", "none"))
        await settle()
        assert await memory.once(UID, "k", "d", provider.starting(ACCEPTED)) is ACCEPTED
        assert len(provider.started) == 2

    asyncio.run(scenario())


@pytest.mark.parametrize(("later_s", "sends"), [(599.9, 1), (600.0, 2)])
def test_an_outcome_is_kept_for_ten_minutes(later_s: float, sends: int) -> None:
    """Ten minutes after the send ended its key is free again."""

    async def scenario() -> None:
        clock, provider = Clock(), Provider()
        memory = Idempotency(clock=clock)
        await memory.once(UID, "k", "d", provider.starting(ACCEPTED))
        await settle()
        clock.now = later_s
        await memory.once(UID, "k", "d", provider.starting(ACCEPTED))
        assert len(provider.started) == sends

    asyncio.run(scenario())


def test_the_number_of_entries_is_bounded() -> None:
    """When there is no room, what ended first is forgotten first."""

    async def scenario() -> None:
        provider, memory = Provider(), Idempotency(max_entries=3)
        for key in ("a", "b", "c", "d"):
            await memory.once(UID, key, "d", provider.starting(ACCEPTED))
            await settle()
        assert len(memory) == 3
        await memory.once(UID, "b", "d", provider.start)
        assert len(provider.started) == 4
        await memory.once(UID, "a", "d", provider.starting(ACCEPTED))
        assert len(provider.started) == 5

    asyncio.run(scenario())


def test_memory_is_bounded_in_octets() -> None:
    """Long references cannot fill the memory: what ended first is forgotten."""

    async def scenario() -> None:
        provider, memory = Provider(), Idempotency(max_octets=1 << 20)
        large = Outcome(Kind.ACCEPTED, reference="r" * 60_000)
        for number in range(50):
            await memory.once(UID, str(number), "d", provider.starting(large))
            await settle()
        assert 1 <= len(memory) <= 4

    asyncio.run(scenario())


def test_running_sends_are_never_forgotten() -> None:
    """When all room is taken by sends that run, a new key is refused as overloaded; without starting it."""

    async def scenario() -> None:
        provider, memory = Provider(), Idempotency(max_entries=2)
        waiting = [asyncio.create_task(memory.once(UID, key, "d", provider.start)) for key in ("a", "b")]
        await settle()
        with pytest.raises(RequestError) as caught:
            await memory.once(UID, "c", "d", provider.start)
        assert caught.value.code == "overloaded"
        assert len(provider.started) == 2
        for future in provider.started:
            future.set_result(ACCEPTED)
        assert await asyncio.gather(*waiting) == [ACCEPTED, ACCEPTED]

    asyncio.run(scenario())


@pytest.mark.parametrize("key", ["a", '"quoted"', "x" * 255, "8e03978e-40d5-43dd-bc93-6894a57f9324"])
def test_a_key_is_taken_as_written(key: str) -> None:
    """A key of 1 to 255 visible ASCII characters is itself."""
    assert check_key(key) == key


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "a\tb", "schlüssel", "a\x00"])
def test_other_keys_are_refused(key: str) -> None:
    """What is no key is malformed, and the answer does not repeat it."""
    with pytest.raises(RequestError) as caught:
        check_key(key)
    assert caught.value.code == "malformed-request"
