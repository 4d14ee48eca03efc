import asyncio
import hashlib
import itertools
import os
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest

from smsgwd.caller import Caller
from smsgwd.errors import RequestError
from smsgwd.message import SendRequest
from smsgwd.otp import Challenges, Clock
from smsgwd.otp.crowd import MOST_OF_ONE, Crowd
from smsgwd.otp.memory import Memory
from smsgwd.otp.pins import MOST_PER_CORE, Pins, stand_in
from smsgwd.otp.seal import Sealed
from smsgwd.otp.store import StoreLostError, Verdict
from smsgwd.otp.users import ENTER, MOST_WRONG, RIGHT, WINDOW_S, WRONG, Login, Named, Result, Users, Why, serial_of
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.pin import PinHash
from smsgwd.registry import OtpSettings, OtpToken, Registry, SiteConfig, State, TokenEntry
from smsgwd.secret import Secret

T = TypeVar("T")
VPN, SSH = Caller(uid=1001), Caller(token="ssh")


def hashed(pin: str, ln: int = 12) -> PinHash:
    """The hash of a PIN, of less cost than usual."""
    salt = os.urandom(16)
    return PinHash(ln, 8, 1, salt, hashlib.scrypt(pin.encode(), salt=salt, n=1 << ln, r=8, p=1, dklen=32))


ALICE = OtpToken(name="alice", user="alice", phone="+491701234567", gateway="g", pin=hashed("1234"))
OFF = replace(ALICE, name="off", user="off", enabled=False)
BOB = replace(ALICE, name="bob", user="bob@example", phone="+491707654321", digits=8, pin=hashed("Pin ä"))


@dataclass
class Phones:
    """Take what is sent, or do not."""

    kind: Kind = Kind.ACCEPTED
    reason: Reason | None = None
    refusal: RequestError | None = None
    sent: list[SendRequest] = field(default_factory=list)

    async def send(self, request: SendRequest) -> Outcome:
        """As the sender does."""
        if self.refusal is not None:
            raise self.refusal
        self.sent.append(request)
        return Outcome(self.kind, self.reason, detail="canary", quote="canary")

    @property
    def code(self) -> str:
        """The last one."""
        assert self.sent[-1].otp is not None
        return self.sent[-1].otp


class Counting(Memory):
    """A memory that tells what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.lost = False

    def _ask(self, what: str) -> None:
        if self.lost:
            raise StoreLostError
        self.asked.append(what)

    async def judge(self, sealed: Sealed, *, right: bool, now: float, attempts: int) -> Verdict:
        """Count a try."""
        self._ask("judge")
        return await super().judge(sealed, right=right, now=now, attempts=attempts)

    async def remember(self, user: str, transaction_id: str, *, now: float, expires_at: float) -> None:
        """Keep a transaction."""
        self._ask("remember")
        await super().remember(user, transaction_id, now=now, expires_at=expires_at)

    async def recall(self, user: str, *, now: float) -> str | None:
        """The transaction."""
        self._ask("recall")
        return await super().recall(user, now=now)

    async def failed(self, key: str, *, now: float, window_s: float) -> int:
        """Count a wrong PIN."""
        self._ask("failed")
        return await super().failed(key, now=now, window_s=window_s)

    async def excuse(self, key: str, *, now: float) -> None:
        """Take one back."""
        self._ask("excuse")
        await super().excuse(key, now=now)

    async def forgive(self, key: str) -> None:
        """Forget them."""
        self._ask("forgive")
        await super().forgive(key)


@dataclass
class House:
    """One daemon's users, and all that can be seen of them from outside."""

    tokens: tuple[OtpToken, ...] = (ALICE, OFF, BOB)
    store: Counting = field(default_factory=Counting)
    config: SiteConfig = field(default_factory=SiteConfig)
    phones: Phones = field(default_factory=Phones)
    at: float = 1_800_000_000.0
    waited: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.serve(*self.tokens)
        self.challenges = Challenges(lambda: self.config.otp, Clock(lambda: self.at, lambda: self.at), self.store)
        self.users = Users(lambda: self.registry, self.challenges, self.phones.send, Pins(2), self.wait)

    def serve(self, *tokens: OtpToken) -> None:
        """What a reload does."""
        entries = (TokenEntry(one.name, State.OK if one.enabled else State.DISABLED, one) for one in tokens)
        self.registry = Registry.of([], self.config, tokens=entries)

    async def wait(self, seconds: float) -> None:
        """Time that passes for nobody else."""
        self.waited.append(seconds)

    async def login(
        self,
        user: str,
        password: str,
        transaction_id: str | None = None,
        caller: Caller = VPN,
        named: Named | None = None,
    ) -> Login:
        """One step."""
        asked = named or Named(user)
        return await self.users.check(asked, Secret(password), transaction_id, caller, lambda _: True)


@pytest.fixture
def house() -> Iterator[House]:
    """With alice, bob@example, and one that is disabled."""
    found = House()
    yield found
    found.users.close()


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The cost of each run of scrypt, as it is made."""
    made: list[int] = []
    scrypt = hashlib.scrypt

    def counted(*args: Any, **kwargs: Any) -> bytes:
        made.append(kwargs["n"])
        return scrypt(*args, **kwargs)

    monkeypatch.setattr(hashlib, "scrypt", counted)
    return made


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run it."""
    return asyncio.run(main)


def wrong(code: str) -> str:
    """Another code of the same length."""
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}}"


# --- two steps ------------------------------------------------------------------------------------------------------


def test_pin_then_pin_and_code(house: House) -> None:
    """The PIN alone has a code sent, PIN and code let in, once; the code alone never does."""
    first = run(house.login("alice", "1234"))
    assert (first.result, first.message, first.token) == (Result.CHALLENGE, ENTER, ALICE)
    assert len(first.transaction_id) == 74
    (sent,) = house.phones.sent
    assert (sent.gateway, sent.to, sent.template, sent.text, sent.caller) == ("g", ALICE.phone, None, None, VPN)
    code = house.phones.code
    assert run(house.login("alice", code)).result is Result.REJECT
    assert run(house.login("alice", "1234" + wrong(code))).why is Why.CODE
    second = run(house.login("alice", "1234" + code))
    assert (second.result, second.message, second.token) == (Result.ACCEPT, RIGHT, ALICE)
    assert run(house.login("alice", "1234" + code)).result is Result.REJECT
    assert len(house.phones.sent) == 1


def test_pin_then_transaction_and_code(house: House, runs: list[int]) -> None:
    """With the id of the first answer the code alone lets in, once; no PIN is looked at any more."""
    first = run(house.login("bob@example", "Pin ä"))
    code = house.phones.code
    del runs[:]
    assert len(code) == 8
    assert run(house.login("bob@example", wrong(code), first.transaction_id)).result is Result.REJECT
    assert run(house.login("bob@example", code, first.transaction_id)).result is Result.ACCEPT
    assert run(house.login("bob@example", code, first.transaction_id)).result is Result.REJECT
    assert run(house.login("bob@example", "Pin ä" + code)).result is Result.REJECT
    assert runs == [1 << 12] * 2


def test_a_code_without_a_pin(house: House) -> None:
    """`trigger` sends one to a user who has a token that is enabled; it lets in as any other does."""
    sent = run(house.users.trigger(Named("alice"), VPN, lambda _: True))
    assert sent.result is Result.CHALLENGE
    assert run(house.login("alice", house.phones.code, sent.transaction_id)).result is Result.ACCEPT
    nobodies = [run(house.users.trigger(Named(name), VPN, lambda _: True)) for name in ("off", "nobody")]
    assert {(one.result, one.message, one.token) for one in nobodies} == {(Result.REJECT, nobodies[0].message, None)}
    assert len(house.phones.sent) == 1


def test_only_the_last_code_goes_with_the_pin(house: House) -> None:
    """A second code takes the place of the first one beside the PIN; by its id the first one still lets in."""
    first = run(house.login("alice", "1234"))
    first_code = house.phones.code
    run(house.login("alice", "1234"))
    if first_code != house.phones.code:
        assert run(house.login("alice", "1234" + first_code)).result is Result.REJECT
    assert run(house.login("alice", first_code, first.transaction_id)).result is Result.ACCEPT
    assert run(house.login("alice", "1234" + house.phones.code)).result is Result.ACCEPT


def test_a_transaction_takes_three_wrong_codes(house: House) -> None:
    """By whichever way they come: after them neither way lets in."""
    first = run(house.login("alice", "1234"))
    code = house.phones.code
    run(house.login("alice", wrong(code), first.transaction_id))
    run(house.login("alice", "1234" + wrong(code)))
    run(house.login("alice", wrong(code), first.transaction_id))
    assert run(house.login("alice", code, first.transaction_id)).result is Result.REJECT
    assert run(house.login("alice", "1234" + code)).result is Result.REJECT


def test_a_wrong_pin_does_not_use_up_tries_of_the_code(house: House) -> None:
    """Who does not know the PIN cannot spoil the code of somebody who does."""
    run(house.login("alice", "1234"))
    code = house.phones.code
    for _ in range(5):
        run(house.login("alice", "9999" + wrong(code)))
        run(house.login("alice", "9999" + code))
    assert run(house.login("alice", "1234" + code, caller=SSH)).result is Result.ACCEPT


def test_a_code_expires(house: House) -> None:
    """After the token's ttl it is worth nothing."""
    house.serve(replace(ALICE, ttl_s=60))
    first = run(house.login("alice", "1234"))
    house.at += 60
    assert run(house.login("alice", "1234" + house.phones.code)).result is Result.REJECT
    assert run(house.login("alice", house.phones.code, first.transaction_id)).result is Result.REJECT


@pytest.mark.parametrize("way", ["pin", "transaction"])
@pytest.mark.parametrize(
    "changed",
    [
        (),
        (replace(ALICE, enabled=False),),
        (replace(ALICE, phone="+491700000000"),),
        (replace(ALICE, pin=hashed("1234")),),
    ],
    ids=["removed", "disabled", "another number", "another hash"],
)
def test_a_reload_in_mid_login(house: House, changed: tuple[OtpToken, ...], way: str) -> None:
    """A token that is gone or disabled lets nobody in; a code that went to another number neither."""
    first = run(house.login("alice", "1234"))
    house.serve(*changed)
    code = house.phones.code
    password = ("1234" + code, None) if way == "pin" else (code, first.transaction_id)
    assert run(house.login("alice", *password)).result is Result.REJECT


def test_a_reload_that_changes_other_things(house: House) -> None:
    """Another gateway, text or length of further codes leaves an open login as it is."""
    first = run(house.login("alice", "1234"))
    house.serve(replace(ALICE, gateway="h", template="t", digits=8, name="a"))
    assert run(house.login("alice", house.phones.code, first.transaction_id)).result is Result.ACCEPT


# --- whose code it is -----------------------------------------------------------------------------------------------


def test_a_code_is_for_its_user_alone(house: House) -> None:
    """The id of one user's transaction lets no other one in, and `/v1/challenges/verify` does not know it."""
    house.serve(ALICE, replace(ALICE, name="eve", user="eve"))
    first = run(house.login("alice", "1234"))
    code = house.phones.code
    assert run(house.login("eve", code, first.transaction_id)).result is Result.REJECT
    assert run(house.login("eve", "1234" + code)).result is Result.REJECT
    for context in ("", "alice", "token:alice"):
        assert not run(house.challenges.verify(first.transaction_id, code, context)).verified
    assert run(house.login("alice", code, first.transaction_id)).result is Result.ACCEPT


# --- all that is rejected is alike ----------------------------------------------------------------------------------

REJECTED: dict[str, tuple[str, Callable[[str], str]]] = {
    "nobody": ("nobody", lambda _: "1234"),
    "nobody, with a code": ("nobody", lambda code: "1234" + code),
    "disabled": ("off", lambda _: "1234"),
    "disabled, with a code": ("off", lambda code: "1234" + code),
    "wrong PIN": ("alice", lambda _: "9999"),
    "wrong PIN, right code": ("alice", lambda code: "9999" + code),
    "right PIN, wrong code": ("alice", lambda code: "1234" + wrong(code)),
    "right PIN, half a code": ("alice", lambda code: "1234" + code[:-1]),
    "code alone": ("alice", lambda code: code),
    "nothing": ("alice", lambda _: ""),
    "nobody, nothing": ("nobody", lambda _: ""),
    "very long": ("alice", lambda _: "1" * 60_000),
    "code of another user": ("bob@example", lambda code: "Pin ä" + code.ljust(8, "0")),
}


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "none open"])
def test_what_is_rejected_is_alike(runs: list[int], is_open: bool) -> None:
    """The same answer, the same runs of scrypt, the same questions to the store, no SMS: whatever was wrong."""
    seen = {}
    for name, (user, password) in REJECTED.items():
        house, code = House(), "123456"
        if is_open:
            run(house.login("alice", "1234"))
            code = house.phones.code
        del runs[:], house.store.asked[:], house.phones.sent[:]
        login = run(house.login(user, password(code)))
        house.users.close()
        told = (login.result, login.message, login.token, login.transaction_id)
        seen[name] = (told, tuple(runs), tuple(house.store.asked), len(house.phones.sent), tuple(house.waited))
    alike = ((Result.REJECT, WRONG, None, ""), (1 << 12,) * 2, ("failed", "recall", "judge"), 0, (0.0,))
    assert seen == dict.fromkeys(REJECTED, alike)


def test_what_is_rejected_with_an_id_is_alike(house: House, runs: list[int]) -> None:
    """No PIN is looked at, and for one id it is the same whether there is such a user, and whether enabled."""
    first = run(house.login("alice", "1234"))
    code = house.phones.code
    del runs[:], house.store.asked[:]
    logins = [
        run(house.login(user, password, transaction_id))
        for user, password in (("nobody", "000000"), ("off", "000000"), ("alice", "000000"), ("nobody", code))
        for transaction_id in ("", "x", "A" * 74)
    ]
    logins += [run(house.login(user, code, first.transaction_id)) for user in ("nobody", "off")]
    assert {(login.result, login.message, login.token) for login in logins} == {(Result.REJECT, WRONG, None)}
    assert (runs, house.store.asked, house.waited) == ([], [], [])
    assert run(house.login("alice", wrong(code), first.transaction_id)).message == WRONG
    house.serve(replace(ALICE, enabled=False))
    assert run(house.login("alice", code, first.transaction_id)).message == WRONG
    assert (runs, house.store.asked) == ([], ["judge"] * 2)


def test_a_token_that_the_caller_may_not_use_is_none(house: House, runs: list[int]) -> None:
    """Its PIN, and the code of an open login, are as wrong as those of nobody."""
    first = run(house.login("alice", "1234"))
    code = house.phones.code
    del runs[:]
    may = lambda token: token.gateway != "g"  # noqa: E731 - three calls of it, here alone
    for password, transaction_id in (("1234", None), ("1234" + code, None), (code, first.transaction_id)):
        login = run(house.users.check(Named("alice"), Secret(password), transaction_id, VPN, may))
        assert (login.result, login.message, login.token) == (Result.REJECT, WRONG, None)
    assert run(house.users.trigger(Named("alice"), VPN, may)).result is Result.REJECT
    assert (len(runs), len(house.phones.sent)) == (4, 1)


def test_a_name_that_nobody_has_costs_what_some_token_costs(runs: list[int]) -> None:
    """Always the same for a name, also in another instance with the same key; not the same for all names."""
    config = SiteConfig(otp=OtpSettings(keys=(Secret("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),)))
    tokens = tuple(
        replace(ALICE, name=f"a{n}", user=f"a{n}", pin=PinHash.of_nobody(hashed("x", ln)))
        for n, ln in enumerate((12, 13))
    )
    del runs[:]
    costs = []
    for _ in range(2):
        house = House(tokens, config=config)
        for number in range(12):
            run(house.login(f"nobody{number}", "1234"))
        house.users.close()
        costs.append(runs[::2])
        assert runs[::2] == runs[1::2]
        del runs[:]
    assert costs[0] == costs[1]
    assert set(costs[0]) == {1 << 12, 1 << 13}


def test_without_any_token_a_name_costs_what_is_usual() -> None:
    """The cost of a new hash, of no PIN that anybody knows."""
    found = stand_in("alice", (), b"k")
    assert (found.ln, found.r, found.p) == (15, 8, 1)
    assert found != stand_in("alice", (), b"k")


# --- wrong PINs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["alice", "off", "nobody", "alice@nowhere"])
def test_wrong_pins_slow_down_and_stop(house: House, runs: list[int], user: str) -> None:
    """From the third one on the answer waits; after ten none is looked at, right or wrong, until the window is over."""
    logins = [run(house.login(user, "9999")) for _ in range(13)]
    assert house.waited == [0, 0, 1, 2, 4, 8, 8, 8, 8, 8, 8, 8, 8]
    assert {(login.result, login.message, login.token) for login in logins} == {(Result.REJECT, WRONG, None)}
    assert len(runs) == 2 * MOST_WRONG
    assert run(house.login(user, "1234")).why is Why.STOPPED
    assert house.waited[-1] == 8
    assert len(runs) == 2 * MOST_WRONG
    house.at += WINDOW_S
    again = run(house.login(user, "1234"))
    assert again.result is (Result.CHALLENGE if user == "alice" else Result.REJECT)
    assert len(runs) == 2 * MOST_WRONG + 2


def test_wrong_pins_are_counted_by_caller(house: House) -> None:
    """What comes by one caller does not stop the user elsewhere, nor other users there."""
    for _ in range(12):
        run(house.login("alice", "9999"))
    assert run(house.login("alice", "1234")).result is Result.REJECT
    assert run(house.login("alice", "1234", caller=SSH)).result is Result.CHALLENGE
    assert run(house.login("bob@example", "Pin ä")).result is Result.CHALLENGE


def test_those_who_only_have_an_address_are_counted_together(house: House, runs: list[int]) -> None:
    """At each listener: another address is no further ten tries."""
    for number in range(12):
        run(house.login("alice", "9999", caller=Caller(address=f"192.0.2.{number}", listener="127.0.0.1:1")))
    assert len(runs) == 2 * MOST_WRONG
    assert run(house.login("alice", "1234", caller=Caller(listener="127.0.0.1:2"))).result is Result.CHALLENGE
    assert run(house.login("alice", "1234")).result is Result.CHALLENGE


def test_a_store_that_is_lost(house: House, runs: list[int]) -> None:
    """Nothing is looked at that cannot be counted: neither a right PIN nor a wrong one, nor a code."""
    first = run(house.login("alice", "1234"))
    del runs[:]
    house.store.lost = True
    tries = [("1234", None), ("9999", None), ("1234" + house.phones.code, None)]
    for password, transaction_id in (*tries, (house.phones.code, first.transaction_id)):
        with pytest.raises(RequestError) as caught:
            run(house.login("alice", password, transaction_id))
        assert caught.value.code == "storage-unavailable"
    assert (runs, len(house.phones.sent)) == ([], 1)


def test_a_store_that_is_lost_when_a_code_is_sent(house: House) -> None:
    """The code is on its way: whoever has its id is let in with it, once the store is back."""
    house.store.lost = True
    sent = run(house.users.trigger(Named("alice"), VPN, lambda _: True))
    assert (sent.result, len(house.phones.sent)) == (Result.CHALLENGE, 1)
    house.store.lost = False
    assert run(house.login("alice", "1234" + house.phones.code)).result is Result.REJECT
    assert run(house.login("alice", house.phones.code, sent.transaction_id)).result is Result.ACCEPT


def test_a_right_pin_forgives(house: House) -> None:
    """The count begins anew; who only ever gives right ones is never slowed down."""
    for _ in range(3):
        for _ in range(MOST_WRONG - 1):
            run(house.login("alice", "9999"))
        del house.waited[:]
        assert run(house.login("alice", "1234")).result is Result.CHALLENGE
        assert house.waited == []
    for _ in range(20):
        assert run(house.login("alice", "1234")).result is Result.CHALLENGE


def test_a_right_pin_forgives_its_own_user_alone(house: House) -> None:
    """A name and a realm may mean two users: the PIN of one gives no guesses at that of the other, nor takes any."""
    corp = replace(BOB, name="corp", user="alice@corp")
    house.serve(ALICE, corp)
    both = Named("alice", realm="corp")
    for _ in range(MOST_WRONG - 1):
        run(house.login("alice@corp", "9999"))
    for _ in range(2 * MOST_WRONG):
        assert run(house.login("", "1234", named=both)).token == ALICE
    assert run(house.login("alice@corp", "9999")).why is Why.PIN
    assert run(house.login("alice@corp", "9999")).why is Why.STOPPED
    house.serve(corp)
    house.at += WINDOW_S
    for _ in range(2 * MOST_WRONG):
        assert run(house.login("", "Pin ä", named=both)).token == corp


def test_a_right_pin_with_a_wrong_code_is_counted(house: House) -> None:
    """Or the waits would tell a right PIN from a wrong one, without an SMS that its owner would notice."""
    house.serve(ALICE)
    for _ in range(6):
        run(house.login("alice", "1234000000"))
    assert house.waited == [0, 0, 1, 2, 4, 8]


def test_one_user_is_counted_once_however_named(house: House, runs: list[int]) -> None:
    """By name, name and realm, or serial: ten wrong ones are looked at, of somebody and of nobody alike."""
    ways = [
        Named("bob@example"),
        Named("bob", realm="example"),
        Named(serial=serial_of("bob@example")),
        Named("bob@example", realm="elsewhere"),
    ]
    for named in itertools.islice(itertools.cycle(ways), 20):
        run(house.login("", "9999", named=named))
    assert len(runs) == 2 * MOST_WRONG
    somebody, house.waited = house.waited, []
    house.serve(ALICE)
    house.at += WINDOW_S
    for named in itertools.islice(itertools.cycle(ways), 20):
        run(house.login("", "9999", named=named))
    assert house.waited == somebody


@pytest.mark.parametrize("instances", [1, 2])
def test_guesses_at_the_same_moment(runs: list[int], instances: int) -> None:
    """No more are looked at than are allowed, also of two instances with one store."""
    store = Counting()
    houses = [House(store=store) for _ in range(instances)]

    async def guesses() -> list[Login]:
        tries = [house.login("alice", f"{n:04}") for house in houses for n in range(MOST_OF_ONE)]
        return await asyncio.gather(*tries)

    logins = run(guesses())
    assert len(runs) == 2 * MOST_WRONG
    assert [login.why for login in logins].count(Why.PIN) == MOST_WRONG
    assert {login.message for login in logins} == {WRONG}


def test_right_ones_at_the_same_moment(house: House) -> None:
    """Somebody who logs in at many places at once is not taken for one who guesses."""

    async def logins() -> list[Login]:
        return await asyncio.gather(*(house.login("alice", "1234") for _ in range(MOST_OF_ONE)))

    assert {login.result for login in run(logins())} == {Result.CHALLENGE}


def test_too_many_of_one_name(house: House, runs: list[int]) -> None:
    """More tries of one name at once than anybody needs are refused, and others go on."""

    async def crowd() -> list[Any]:
        tries = [house.login(user, "9999") for user in ["alice"] * (MOST_OF_ONE + 3) + ["bob@example"]]
        return await asyncio.gather(*tries, return_exceptions=True)

    found = run(crowd())
    refused = [one for one in found if isinstance(one, RequestError)]
    assert [one.code for one in refused] == ["overloaded"] * 3
    assert isinstance(found[-1], Login)
    assert len(runs) == 2 * MOST_WRONG + 2


# --- how many at once -----------------------------------------------------------------------------------------------


def test_so_many_pins_are_looked_at_and_no_more(house: House) -> None:
    """Of many logins at once some are refused for now and counted nowhere; the event loop goes on meanwhile."""
    turns = 0

    async def turning() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def crowd() -> list[Any]:
        task = asyncio.create_task(turning())
        tries = (house.login(f"nobody{n}", "9999") for n in range(150))
        found = await asyncio.gather(*tries, return_exceptions=True)
        task.cancel()
        return found

    found = run(crowd())
    refused = [one for one in found if isinstance(one, RequestError)]
    assert len(refused) == 150 - 2 * MOST_PER_CORE
    assert {one.code for one in refused} == {"overloaded"}
    assert house.store.asked.count("failed") == 2 * MOST_PER_CORE
    assert turns > 100


def test_a_crowd_is_bounded() -> None:
    """So many altogether and so many with one key; whoever leaves makes room, and nothing is kept of them."""
    crowd = Crowd(most=3, most_of_one=2)
    with crowd.inside("a"), crowd.inside("a"):
        with pytest.raises(RequestError, match="too many logins"), crowd.inside("a"):
            pass
        with crowd.inside("b"), pytest.raises(RequestError, match="too many logins"), crowd.inside("c"):
            pass
        with crowd.inside("c"):
            pass
    assert vars(crowd)["_lines"] == {}


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "named", "found"),
    [
        ("alice", {}, ALICE),
        ("alice", {"realm": "example"}, ALICE),
        ("bob", {"realm": "example"}, BOB),
        ("bob", {}, None),
        ("bob", {"realm": "other"}, None),
        ("Alice", {}, None),
        ("", {"serial": serial_of("alice")}, ALICE),
        ("", {"serial": serial_of("alice").lower()}, ALICE),
        ("", {"serial": serial_of("nobody")}, None),
        ("", {"serial": "PISM0001"}, None),
        ("alice", {"serial": serial_of("alice")}, ALICE),
        ("alice", {"serial": serial_of("off")}, None),
    ],
)
def test_names(house: House, user: str, named: dict[str, str], found: OtpToken | None) -> None:
    """A user is looked for alone and then in the realm; a serial stands for the user, and does not contradict it."""
    login = run(house.users.trigger(Named(user, **named), VPN, lambda _: True))
    assert login.token == found


def test_a_serial_is_made_of_the_name() -> None:
    """The first eight digits of its SHA-256, in capitals: the same in every instance and after every restart."""
    assert serial_of("alice") == "SMS2BD806C9"


# --- a code that cannot be sent -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(Kind.UNSENT, Reason.LIMIT), (Kind.REJECTED, Reason.INVALID_DESTINATION), (Kind.UNKNOWN, Reason.TIMEOUT)],
)
def test_a_code_that_was_not_accepted(house: House, kind: Kind, reason: Reason) -> None:
    """It is said, with the reason and nothing else; no transaction is open."""
    house.phones.kind, house.phones.reason = kind, reason
    login = run(house.login("alice", "1234"))
    assert login == Login(Result.REJECT, f"the one-time password could not be sent ({reason})", ALICE, why=Why.UNSENT)
    assert "remember" not in house.store.asked
    assert run(house.login("alice", "1234" + house.phones.code)).result is Result.REJECT


@pytest.mark.parametrize("code", ["unknown-gateway", "gateway-unavailable", "malformed-request"])
def test_a_gateway_that_cannot_be_used(house: House, code: str) -> None:
    """What is wrong with it is not for whoever logs in."""
    house.phones.refusal = RequestError(code, "canary: gateways.d/x.yaml:1:1", {"problems": ["canary"]})
    login = run(house.login("alice", "1234"))
    assert (login.result, login.message) == (Result.REJECT, "the one-time password could not be sent (config)")


def test_too_many_sends(house: House) -> None:
    """That is no fault of the token: to come again is what helps."""
    house.phones.refusal = RequestError("overloaded", "too many sends are running")
    with pytest.raises(RequestError, match="too many sends"):
        run(house.login("alice", "1234"))
