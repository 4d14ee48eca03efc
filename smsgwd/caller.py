"""Who calls the daemon."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Caller:
    """A process that the kernel knows (`uid`, `groups`), or one that gave a token, or only came from an address."""

    uid: int | None = None
    groups: frozenset[int] = frozenset()  # its primary group and the supplementary ones
    token: str | None = None  # the name of the token that it gave: then that is who it is
    address: str = ""  # of a TCP client
    listener: str = ""  # the address that a TCP client came to, as `listen` names it
    unknown_token: bool = False  # it gave a token that is none of ours: then it may do nothing

    @property
    def name(self) -> str:
        """What it is counted and remembered by: `token:NAME`, `uid:NUMBER` or `from:ADDRESS`."""
        kind, value = next(iter(self.as_log().items()))
        return f"{kind}:{value}"

    def as_log(self) -> dict[str, Any]:
        """What a log says of it; the first member is who it is."""
        found = {"token": self.token, "uid": self.uid, "from": self.address or None}
        return {key: value for key, value in found.items() if value is not None} or {"from": ""}

    def __str__(self) -> str:
        kind, value = next(iter(self.as_log().items()))
        return f"{kind} {value}"
