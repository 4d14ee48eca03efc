"""The tokens of a snapshot: who has one, what the digest says of them, what no text of them shows."""

from smsgwd.pin import PinHash
from smsgwd.registry import OtpToken, Registry, SiteConfig, State, TokenEntry

NUMBER = "+491701234567"
PIN = PinHash.of("2580")


def token(name: str, user: str, digest: str = "sha256:1") -> OtpToken:
    return OtpToken(name=name, user=user, phone=NUMBER, gateway="console", pin=PIN, digest=digest)


def registry(*entries: TokenEntry) -> Registry:
    return Registry.of((), SiteConfig(), tokens=entries)


def test_token_of_a_user() -> None:
    """A token is found by its user, whatever its file is called, and the name counts as it is written."""
    served = registry(TokenEntry("a", State.OK, token("a", "alice@example.com")), TokenEntry("b", State.REJECTED))
    assert served.token_of("alice@example.com") is served.tokens["a"].token
    assert [served.token_of(user) for user in ("Alice@example.com", "a", "b", "")] == [None] * 4
    assert served.token_counts() == {"ok": 1, "stale": 0, "rejected": 1, "disabled": 0}


def test_an_earlier_version_gives_way() -> None:
    """Of two tokens for one user the one whose file is right serves, not what is left of an earlier version."""
    entries = (TokenEntry("a", State.OK, token("a", "x")), TokenEntry("z", State.STALE, token("z", "x")))
    found = registry(*entries).token_of("x")
    assert found is not None
    assert found.name == "a"


def test_digest_covers_tokens() -> None:
    """The digest of a configuration is another with a token, and with another version of it."""
    digests = {registry(TokenEntry("a", State.OK, token("a", "x", digest))).digest for digest in ("1", "2")}
    assert len({registry().digest, registry(TokenEntry("a", State.REJECTED)).digest, *digests}) == 3


def test_a_token_shows_no_secret() -> None:
    """Neither number nor PIN hash are in what a log or a traceback would print."""
    shown = repr(registry(TokenEntry("a", State.OK, token("a", "x"))))
    assert NUMBER not in shown
    assert str(PIN) not in shown
    assert "salt" not in shown
