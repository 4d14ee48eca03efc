"""Logging: one line for each event, as JSON or as text, on standard error, and nothing in it that nobody may see.

Our own loggers write what they are given in `extra` as fields. Others' loggers and tracebacks quote what passed through
them: of an exception only its type and the places in the code are written, libraries are heard from `warning` on.
"""

import asyncio
import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from smsgwd.registry import LogSettings

log = logging.getLogger("smsgwd")

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# What they say holds URLs, headers or whole PDUs, and with them numbers, texts and passwords.
_SILENCED = ("urllib3", "requests", "smpplib", "aiohttp.access", "aiohttp.server", "charset_normalizer")


def hold() -> None:
    """Keep what is logged until `set_up` knows how to write it: the first load has something to say, too."""
    logging.getLogger().handlers = [_Holder()]
    log.setLevel(logging.DEBUG)


def set_up(settings: LogSettings) -> None:
    """Log to standard error as the settings say. May be called again: a reload changes the level and the format."""
    prefixed = _goes_to_journal(os.environ)
    handler = _Handler(sys.stderr)
    handler.setFormatter(_FORMATS[settings.format](prefixed=prefixed))
    handler.audit = JsonFormatter(prefixed=prefixed)
    root = logging.getLogger()
    former, root.handlers = root.handlers, [handler]
    root.setLevel(logging.WARNING)
    log.setLevel(_LEVELS[settings.level])
    for name in _SILENCED:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    for holder in (one for one in former if isinstance(one, _Holder)):
        holder.write()
    if settings.shows_messages:
        log.warning("privacy is off: message texts, numbers and the answers of providers are logged")


def catch_unforeseen() -> None:
    """Log what nobody caught, in any thread, like all else: by type and place."""
    sys.excepthook = _log_exception
    threading.excepthook = lambda caught: _log_exception(caught.exc_type, caught.exc_value, caught.exc_traceback)


def catch_unforeseen_in(loop: asyncio.AbstractEventLoop) -> None:
    """The same for an event loop, whose own words would quote the exception."""
    loop.set_exception_handler(
        lambda _, context: log.error("unforeseen: %s", context["message"], exc_info=context.get("exception"))
    )


def _log_exception(kind: type[BaseException], error: BaseException | None, where: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    log.critical("unforeseen failure", exc_info=(kind, error or kind(), where))


def _goes_to_journal(environ: Mapping[str, str]) -> bool:
    """Whether standard error is the journal ($JOURNAL_STREAM of systemd.exec(5)): elsewhere `<6>` would be noise."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class _Handler(logging.StreamHandler[Any]):
    audit: logging.Formatter | None = None  # for programs, in whatever form people read the rest

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        if record.name == "smsgwd.audit" and self.audit is not None:
            return self.audit.format(record)
        return super().format(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's signature
        """Say nothing more: logging's own words would show the arguments of the line that failed."""


class _Holder(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.held: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.held.append(record)

    def write(self) -> None:
        """Log it after all, if its level is logged by now."""
        for record in self.held:
            logger = logging.getLogger(record.name)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)


class _Formatter(logging.Formatter):
    def __init__(self, *, prefixed: bool) -> None:
        super().__init__()
        self._prefixed = prefixed

    def format(self, record: logging.LogRecord) -> str:
        """One line, with the journal's priority in front where it goes there."""
        line = self.line(record)
        return f"<{_PRIORITIES.get(record.levelno, 6)}>{line}" if self._prefixed else line

    def line(self, record: logging.LogRecord) -> str:
        """The line itself."""
        raise NotImplementedError


class JsonFormatter(_Formatter):
    """One JSON object for each event; what stands in `extra` are its members."""

    def line(self, record: logging.LogRecord) -> str:
        """The event as JSON, ASCII only: nothing in it can steer a terminal."""
        members = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **dict(_extra(record)),
        }
        return json.dumps(members, default=str)


class TextFormatter(_Formatter):
    """Time, level, logger, message and `key=value` for what stands in `extra`."""

    def line(self, record: logging.LogRecord) -> str:
        """The event as one line; control characters are escaped."""
        words = [_time(record), record.levelname.lower().ljust(7), record.name + ":", _visible(record.getMessage())]
        words += [f"{key}={_value(value)}" for key, value in _extra(record)]
        return " ".join(words)


_FORMATS: Mapping[str, type[_Formatter]] = {"json": JsonFormatter, "text": TextFormatter}


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extra(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    for key, value in vars(record).items():
        if key not in _STANDARD:
            yield key, value
    if record.exc_info and record.exc_info[0] is not None:
        yield "exception", record.exc_info[0].__name__
        yield "where", [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in _frames(record.exc_info[2])]


def _frames(where: TracebackType | None) -> traceback.StackSummary:
    return traceback.extract_tb(where)


def _value(value: Any) -> str:
    if isinstance(value, str) and value and value.isprintable() and not set(value) & set(' "='):
        return value
    return _visible(json.dumps(value, ensure_ascii=False, default=str))


def _visible(text: str) -> str:
    """The text with everything that is no printable character escaped."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
