"""`otp.storage` of smsgwd.yaml: the redis that instances share."""

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from smsgwd.compile.draft import Draft
from smsgwd.providers._base import KeyPath
from smsgwd.providers._http.target import percent_encode
from smsgwd.registry import RedisServer
from smsgwd.secret import MASK, MASKED, Secret

_AT: KeyPath = ("otp", "storage")
_DATABASE = re.compile("[0-9]{1,5}")
_WRITTEN = "redis://[user:password@]host[:port][/database], rediss://... or unix:///path[?db=database]"


def storage_of(draft: Draft, data: Mapping[str, Any]) -> RedisServer | None:
    """The redis; None for the memory, and where there is a fault. What is told of it never holds a value."""
    text = data.get("storage", "memory")
    if text == "memory":
        return None
    template = draft.template(text, _AT, escape=percent_encode if "://" in text else None)
    url = template.render({}) if template.constant else ""
    if draft.resolved and any(draft.secrets.get(name.removeprefix("secrets.")) is MASKED for name in template.uses):
        draft.problem(_AT, "missing-secret", "`storage` needs a secret that cannot be had")
        return None
    if url in ("", MASK):  # a fault that is told already, or a secret that is not read
        return None
    if draft.resolved and not _installed():
        draft.problem(_AT, "missing-extra", "the package redis is not installed", "pip install 'smsgwd[redis]'")
        return None
    try:
        return _server(url)
    except ValueError as error:
        draft.problem(_AT, "bad-storage", f"the URL of the storage has {error}", _WRITTEN)
        return None


def _installed() -> bool:
    """Whether the client is there. It is imported here already: that takes 0.2 s, which the event loop has not got."""
    try:
        import_module("redis.asyncio")
    except ImportError:
        return False
    return True


def _server(url: str) -> RedisServer:
    """The server that a URL means. Raises ValueError, in words that hold nothing of it."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("a character that no URL has: it has to be percent-encoded")
    try:
        parts = urlsplit(url)
    except ValueError:  # its words would quote the URL
        raise ValueError("no host that can be read") from None
    if parts.fragment or "#" in url:
        raise ValueError("a fragment, which means nothing here")
    if parts.scheme == "unix":
        return _at_socket(parts)
    if parts.scheme in ("redis", "rediss"):
        return _at_host(parts)
    raise ValueError("another scheme than redis, rediss and unix")


def _at_socket(parts: SplitResult) -> RedisServer:
    if parts.netloc.rpartition("@")[2]:
        raise ValueError("a host beside a Unix socket: three slashes begin its path")
    if len(parts.path) <= 1:
        raise ValueError("no path of a Unix socket")
    names = parse_qsl(parts.query, keep_blank_values=True)
    if [name for name, _ in names] not in ([], ["db"]):
        raise ValueError("a parameter other than db")
    username, password = _credentials(parts)
    database = _database(names[0][1]) if names else 0
    return RedisServer(path=unquote(parts.path), database=database, username=username, password=password)


def _at_host(parts: SplitResult) -> RedisServer:
    if not parts.hostname:
        raise ValueError("no host")
    try:
        port = parts.port or RedisServer().port
    except ValueError:
        raise ValueError("a port that is none") from None
    if parts.query:
        raise ValueError("parameters; the database follows the host")
    username, password = _credentials(parts)
    return RedisServer(
        host=unquote(parts.hostname),
        port=port,
        database=_database(parts.path.removeprefix("/")) if len(parts.path) > 1 else 0,
        tls=parts.scheme == "rediss",
        username=username,
        password=password,
    )


def _credentials(parts: SplitResult) -> tuple[str, Secret | None]:
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if username and not password:
        raise ValueError("a user without a password; a password alone is written :password@host")
    return username, Secret(password) if password else None


def _database(text: str) -> int:
    if not _DATABASE.fullmatch(text):
        raise ValueError("a database that is no number")
    return int(text)
