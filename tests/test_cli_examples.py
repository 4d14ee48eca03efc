import re
import shlex
import shutil
from pathlib import Path

import pytest
from command import CHECKOUT, run

from smsgwd.cli import VERBS, build

_LINE = re.compile(r"^  (?:\$ )?(?:[^|]+ \| )?(smsgwd [a-z].*)$", re.MULTILINE)
_END = re.compile(r" {3,}| [|>] ")  # a remark after several blanks, a pipe, a redirection
_RUN = {"check", "count", "explain", "graph", "render", "schema", "test"}  # these need no daemon and change nothing
_ANOTHERS_FILES = ("gateways.d/new.yaml", "/etc/smsgwd")


def example_of(line: str) -> list[str]:
    """The arguments of an example, without what a shell does with them and without its remark."""
    return shlex.split(_END.split(line)[0], comments=True)[1:]


def examples(verb: str, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """Those in the help of a verb."""
    _, _, text = re.sub(r"^example:", "examples:", run(capsys, verb, "--help").out, flags=re.MULTILINE).partition(
        "\nexamples:\n"
    )
    return [example_of(line) for line in _LINE.findall(text)]


@pytest.mark.parametrize("verb", VERBS)
def test_examples_are_commands(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What --help shows can be typed: every verb and option is there, and nothing is missing."""
    found = examples(verb, capsys)
    assert verb in {arguments[0] for arguments in found}
    for arguments in found:
        assert build().parse_args(arguments).verb == arguments[0]


@pytest.mark.parametrize("verb", sorted(_RUN))
def test_examples_work(
    verb: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the configuration that is shipped, each example that needs no daemon does what it shows."""
    shutil.copytree(CHECKOUT / "gateways.d", tmp_path / "gateways.d")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMSGWD_CONFIG", ".")
    for arguments in examples(verb, capsys):
        if arguments[0] in _RUN and not any(word.startswith(_ANOTHERS_FILES) for word in arguments):
            done = run(capsys, *arguments)
            assert (done.code, bool(done.out or done.err)) == (0, True), (arguments, done)
