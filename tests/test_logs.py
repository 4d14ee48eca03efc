import json
import os
import re
import subprocess
import sys

import pytest

LEVELS = ("debug", "info", "warning", "error")
PROGRAM = """
import asyncio, logging, os, sys, threading
from smsgwd import logs
from smsgwd.registry import LogSettings
{before}
logs.set_up(LogSettings({settings}))
logs.catch_unforeseen()
{body}
"""

IN_A_TASK = """
async def fails():
    raise KeyError("CANARY")
async def main():
    logs.catch_unforeseen_in(asyncio.get_running_loop())
    asyncio.create_task(fails())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
asyncio.run(main())
"""


def logged(body: str, settings: str = "", before: str = "") -> list[str]:
    """The lines on standard error of a process that did this."""
    program = PROGRAM.format(settings=settings, body=body, before=before)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30, env=dict(os.environ)
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_an_event_is_one_json_object() -> None:
    """Time, level, logger and message, and each member of `extra` as a member."""
    (line,) = logged("logging.getLogger('smsgwd.x').info('send', extra={'to': '+4917*****67', 'segments': 2})")
    event = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.pop("time"))
    assert event == {"level": "info", "logger": "smsgwd.x", "message": "send", "to": "+4917*****67", "segments": 2}


def test_an_event_can_be_text() -> None:
    """One line for people; values with blanks are quoted, control characters escaped."""
    (line,) = logged(
        "logging.getLogger('smsgwd.x').warning('a\\nb\\x1b[31m', extra={'a': 1, 'b': 'x y', 'c': 'z\\r\\u2028'})",
        "format='text'",
    )
    assert line.split(" ", 1)[1] == r'warning smsgwd.x: a\nb\x1b[31m a=1 b="x y" c="z\r\u2028"'


@pytest.mark.parametrize("level", LEVELS)
def test_the_level_counts_for_us(level: str) -> None:
    """What is below the level is not written; of libraries only warnings and worse are, whatever the level."""
    body = "for level in (10, 20, 30, 40): logging.getLogger('smsgwd').log(level, 'us')\n"
    body += "for level in (10, 20): logging.getLogger('library').log(level, 'them')"
    found = [json.loads(line)["level"] for line in logged(body, f"level={level!r}")]
    assert found == list(LEVELS[LEVELS.index(level) :])


@pytest.mark.parametrize("name", ["urllib3.connectionpool", "smpplib.client", "aiohttp.access", "aiohttp.server"])
def test_libraries_that_quote_are_silent(name: str) -> None:
    """URLs, headers and PDUs hold numbers, texts and passwords: their libraries are not heard at all."""
    assert (
        logged(f"logging.getLogger({name!r}).critical('the url was http://x/?password=hunter2')", "level='debug'") == []
    )


def test_the_level_changes_with_a_reload() -> None:
    """Setting up again takes the new level and format, and does not write twice."""
    body = "logs.set_up(LogSettings(level='debug', format='text')); logging.getLogger('smsgwd').debug('now')"
    (line,) = logged(body)
    assert line.endswith("debug   smsgwd: now")


def test_what_was_held_is_written_as_the_settings_say() -> None:
    """What the first load says waits for the format and the level that it reads."""
    before = "logs.hold(); log = logging.getLogger('smsgwd.reload'); log.debug('a'); log.info('b'); log.warning('c')"
    lines = logged("log.warning('d')", "format='text', level='warning'", before)
    assert [line.split(" ", 1)[1] for line in lines] == [
        "warning smsgwd.reload: c",
        "warning smsgwd.reload: d",
    ]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("raise ValueError('CANARY')", "ValueError"),
        ("threading.Thread(target=lambda: int('CANARY')).start()", "ValueError"),
        ("try:\n  int('CANARY')\nexcept ValueError:\n  logging.getLogger('smsgwd').exception('x')", "ValueError"),
        (IN_A_TASK, "KeyError"),
    ],
    ids=["main", "thread", "logged", "task"],
)
def test_an_exception_is_told_by_type_and_place(body: str, kind: str) -> None:
    """What an exception says may be a message: only its type and the places of the code are written."""
    lines = logged(body)
    assert "CANARY" not in "".join(lines)
    (event,) = map(json.loads, lines)
    assert event["exception"] == kind
    assert event["where"]


def test_a_line_that_cannot_be_written_is_not_shown_otherwise() -> None:
    """A line with a fault of ours is lost; its arguments are not printed in its place."""
    assert logged("logging.getLogger('smsgwd').warning('%d', 'CANARY')") == []


def test_the_journal_gets_priorities() -> None:
    """Where standard error is the journal itself, each line begins with its priority (sd-daemon(3))."""
    before = "s = os.fstat(2); os.environ['JOURNAL_STREAM'] = f'{s.st_dev}:{s.st_ino}'"
    lines = logged(
        "for level in (10, 20, 30, 40): logging.getLogger('smsgwd').log(level, 'x')", "level='debug'", before
    )
    assert [line[:3] for line in lines] == ["<7>", "<6>", "<4>", "<3>"]
    assert json.loads(lines[0][3:])["message"] == "x"


def test_privacy_off_is_told() -> None:
    """The debug switch shows messages, and says so first; without debug it shows nothing."""
    (line,) = logged("", "privacy=False, level='debug'")
    assert json.loads(line)["level"] == "warning"
    assert "privacy is off" in line
    assert logged("", "privacy=False") == []
