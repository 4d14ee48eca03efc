import stat
from pathlib import Path

import pytest
from command import CHECKOUT, run
from hypothesis import given, settings
from hypothesis import strategies as st
from nobody import as_nobody, open_folder

from smsgwd import schema
from smsgwd.compile import digest_of_file
from smsgwd.layout import LayoutError, arranged
from smsgwd.load import Source, load


def read(text: str) -> Source:
    """A file."""
    source = load(text.encode(), "x.yaml")
    assert source.problems == ()
    return source


CASES = {
    "keys go to their places": (
        "enabled: true\nprovider: console\n",
        "provider: console\nenabled: true\n",
    ),
    "all is in order": (
        "provider: console\n\n\nenabled: true # why\n",
        "provider: console\n\n\nenabled: true # why\n",
    ),
    "comments above and beside a key go with it": (
        "deadline: 3s # c\n# a\n\n# b\nprovider: console\n",
        "# a\n\n# b\nprovider: console\ndeadline: 3s # c\n",
    ),
    "the comments of the file stay at its top": (
        "# file\n# more\nenabled: true\nprovider: console\n",
        "# file\n# more\nprovider: console\nenabled: true\n",
    ),
    "a blank line parts them from those of the first key": (
        "# file\n\n# key\nenabled: true\nprovider: console\n",
        "# file\n\nprovider: console\n# key\nenabled: true\n",
    ),
    "what stands deeper in below a key is its own": (
        "settings:\n  a: 1\n  # off: 2\n\n  # more\n# next\nprovider: console\n",
        "# next\nprovider: console\nsettings:\n  a: 1\n  # off: 2\n\n  # more\n",
    ),
    "comments at the end stay there": (
        "enabled: true\nprovider: console\n# end\n",
        "provider: console\nenabled: true\n# end\n",
    ),
    "blank lines do not come to the top": (
        "enabled: true\n\nprovider: console\n",
        "provider: console\nenabled: true\n",
    ),
    "mappings inside": (
        (
            "provider: http\n"
            "settings:\n"
            "  method: GET # m\n"
            "  # u\n"
            "  url: https://x.example/\n"
            "phone:\n"
            "  format: digits\n"
            "  region: DE\n"
        ),
        (
            "provider: http\n"
            "phone:\n"
            "  region: DE\n"
            "  format: digits\n"
            "settings:\n"
            "  # u\n"
            "  url: https://x.example/\n"
            "  method: GET # m\n"
        ),
    ),
    "braces": (
        "phone: { format: digits ,  region: DE }\nprovider: console\n",
        "provider: console\nphone: { region: DE ,  format: digits }\n",
    ),
    "braces on lines": (
        "provider: console\nretry: {wait: 1s,\n  attempts: 2}\n",
        "provider: console\nretry: {attempts: 2,\n  wait: 1s}\n",
    ),
    "braces with comments stay": (
        "provider: console\nretry: {wait: 1s, # w\n  attempts: 2}\n",
        "provider: console\nretry: {wait: 1s, # w\n  attempts: 2}\n",
    ),
    "braces inside of braces": (
        ('tests: [{expect: {segments: 1, to: "1"}, send: {text: b, to: a}}]\nprovider: console\n'),
        ('provider: console\ntests: [{send: {to: a, text: b}, expect: {to: "1", segments: 1}}]\n'),
    ),
    "the keys of the file's own making stay": (
        (
            "provider: http\n"
            "settings:\n"
            "  url: https://x.example/\n"
            "  query: {z: 1, a: 2}\n"
            "  json: {url: 1, method: 2, a: {b: 1, a: 2}}\n"
        ),
        (
            "provider: http\n"
            "settings:\n"
            "  url: https://x.example/\n"
            "  query: {z: 1, a: 2}\n"
            "  json: {url: 1, method: 2, a: {b: 1, a: 2}}\n"
        ),
    ),
    "unknown keys go last": (
        "zz: 1\naa: 2\nprovider: console\n",
        "provider: console\nzz: 1\naa: 2\n",
    ),
    "items of a list": (
        (
            "provider: console\n"
            "tests:\n"
            "  - expect: {segments: 1}\n"
            "    # s\n"
            "    send: {to: a, text: b}\n"
            "\n"
            "  # two\n"
            "  - name: x\n"
            "    expect: {}\n"
            "    send: {to: a, text: b} # t\n"
        ),
        (
            "provider: console\n"
            "tests:\n"
            "  - expect: {segments: 1}\n"
            "    # s\n"
            "    send: {to: a, text: b}\n"
            "\n"
            "  # two\n"
            "  - name: x\n"
            "    send: {to: a, text: b} # t\n"
            "    expect: {}\n"
        ),
    ),
    "items whose first key moves": (
        (
            "provider: console\n"
            "tests:\n"
            "- expect: {segments: 1} # e\n"
            "  send: {to: a, text: b}\n"
            "-   send: {to: a, text: b}\n"
            "    name: x\n"
        ),
        (
            "provider: console\n"
            "tests:\n"
            "- send: {to: a, text: b}\n"
            "  expect: {segments: 1} # e\n"
            "-   name: x\n"
            "    send: {to: a, text: b}\n"
        ),
    ),
    "block texts": (
        ("templates:\n  a:\n    vars: {}\n    text: |\n      one  \n\n      # no comment\n\n\nprovider: console\n"),
        ("provider: console\ntemplates:\n  a:\n    text: |\n      one  \n\n      # no comment\n\n\n    vars: {}\n"),
    ),
    "texts of several lines": (
        "description: one  \n  two # c\nsender: 'a\n\n  b'\nprovider: console\n",
        "provider: console\ndescription: one  \n  two # c\nsender: 'a\n\n  b'\n",
    ),
    "blanks at the ends of lines": (
        "provider:   console  \t\n \n# c \nenabled: true",
        "provider:   console\n\n# c\nenabled: true\n",
    ),
    "other line breaks": (
        "enabled: true\r\nprovider: console",
        "provider: console\r\nenabled: true\r\n",
    ),
    "lines at the end": (
        "provider: console\n\n\n",
        "provider: console\n",
    ),
    "a document": (
        "--- # d\nenabled: true\nprovider: console\n...\n",
        "--- # d\nprovider: console\nenabled: true\n...\n",
    ),
    "no value": (
        "sender:\nprovider: console\n",
        "provider: console\nsender:\n",
    ),
    "quoted keys": (
        "\"enabled\": true\n'provider': console\n",
        "'provider': console\n\"enabled\": true\n",
    ),
    "a hash that is no comment": (
        "sender: a#b\nprovider: console # {{ '#' }}\n",
        "provider: console # {{ '#' }}\nsender: a#b\n",
    ),
    "JSON": (
        '{"enabled": true, "provider": "console"}\n',
        '{"provider": "console", "enabled": true}\n',
    ),
    "question marks stay": (
        "enabled: true\n? provider\n: console\n",
        "enabled: true\n? provider\n: console\n",
    ),
    "a key of another provider": (
        "settings: {api: rest, username: a}\nprovider: sipgate\n",
        "provider: sipgate\nsettings: {username: a, api: rest}\n",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_order(name: str) -> None:
    """Keys take their usual order with all that is theirs; what is in order stays as it is, octet by octet."""
    before, after = CASES[name]
    assert arranged(read(before)) == after
    assert arranged(read(after)) == after


def test_site_order() -> None:
    """smsgwd.yaml has an order of its own."""
    before = (
        "log: {level: info, format: json}\naccess:\n  - allow: [send]\n    users: [a]\nsocket: {mode: a, path: x}\n"
    )
    after = "socket: {path: x, mode: a}\naccess:\n  - users: [a]\n    allow: [send]\nlog: {format: json, level: info}\n"
    assert arranged(read(before), "smsgwd") == after


def test_a_text_that_would_change() -> None:
    """A block text that ends the file without a line break would get one elsewhere: that is refused."""
    with pytest.raises(LayoutError, match="without changing what the file says"):
        arranged(read("templates:\n  a:\n    text: |\n      x\nprovider: console\ndescription: |\n  y"))


SECTIONS = [
    ["provider: http"],
    ["description: 'it''s # one'"],
    ["enabled: false"],
    ["sender: ACME"],
    ["deadline: 3s"],
    ["retry:", "  wait: 1s", "  attempts: 2"],
    ["retry: {wait: 1s, attempts: 2}"],
    ["phone: {short_codes: true, region: DE,", "    format: digits}"],
    ["phone:", "    short_codes: true", "    rewrite:", "    - replace: a", "      match: b", "    region: DE"],
    ["secrets:", "  z: {env: Z}", "  a: {file: a}"],
    ["templates:", "  t:", "    vars: {b: {charset: any, max_length: 1}}", "    text: >-", "      one", "", "      b"],
    ["templates:", "  t:", "    text: |", "      a  ", "      # b", ""],
    ["settings:", "  success: {status: [200]}", "  headers: {z: 1, a: 2}", '  url: "https://x.example/"'],
    ["tests:", "  - expect: {}", "    send: {text: b, to: a}", "  -", "    expect: {}", "    send:", "      to: a"],
]  # fmt: skip  # a row is a section
BESIDE = ["", "# a comment", "  # deeper", "#", "   ", "      # much deeper: x"]


@st.composite
def files(draw: st.DrawFn) -> str:
    """A gateway file with its keys in any order, and comments and blank lines anywhere between lines."""
    chosen = {section[0].split(":")[0]: section for section in draw(st.permutations(SECTIONS))}
    lines = draw(st.lists(st.sampled_from(BESIDE), max_size=2))
    for section in chosen.values():
        for line in section:
            lines.append(line + draw(st.sampled_from(["", "", "  ", " # beside"])) if _may_end(line) else line)
            if _may_end(line):
                lines += draw(st.lists(st.sampled_from(BESIDE), max_size=2))
    line_break = draw(st.sampled_from(["\n", "\r\n"]))
    return line_break.join(lines) + draw(st.sampled_from(["", line_break, line_break * 3]))


def _may_end(line: str) -> bool:
    """Whether a comment may stand beside and below a line: not inside of texts and braces of several lines."""
    return (
        bool(line) and line.strip() not in {"one", "two", "text: |", "text: >-", "a", "# b"} and not line.endswith(",")
    )


@settings(deadline=None)
@given(files())
def test_any_file(text: str) -> None:
    """The digest stays, no comment is lost, the keys are in order, and a second time changes nothing."""
    source = read(text)
    after = arranged(source)
    assert digest(read(after)) == digest(source)
    assert sorted(comments(after)) == sorted(comments(text))
    root = read(after).data
    keys = list(root.entries) if root else []
    order = schema.order_of("http", ())
    assert keys == sorted(keys, key=order.index)
    assert arranged(read(after)) == after


def digest(source: Source) -> str:
    """The digest of what a file says."""
    return digest_of_file(schema.check_gateway(source)[0] or {})


def comments(text: str) -> list[str]:
    """What follows a `#`."""
    return [line[line.index("#") :].rstrip() for line in text.splitlines() if "#" in line]


@settings(deadline=None, max_examples=300)
@given(st.text("ab: {}[],-#\n'\"|>?&*!%@`é\t0"))
def test_any_text(text: str) -> None:
    """Whatever is a mapping at all is arranged without changing what it says, or refused; it never breaks."""
    source = load(text.encode(), "x.yaml")
    if source.data is None or source.problems:
        return
    try:
        after = arranged(source)
    except LayoutError:
        return
    assert arranged(read(after)) == after


# --- the command


def test_files_are_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Files that are not in order are written and named; rights and byte order mark stay; the rest is not touched."""
    folder = tmp_path / "gateways.d"
    folder.mkdir()
    (folder / "a.yaml").write_bytes("\ufeffenabled: true\nprovider: console\n".encode())
    (folder / "a.yaml").chmod(0o600)
    (folder / "b.yaml").write_text("provider: console\n")
    (tmp_path / "smsgwd.yaml").write_text("log: {}\nsocket: {}\n")
    before = (folder / "b.yaml").stat()
    done = run(capsys, "fmt", "--config", str(tmp_path))
    assert (done.code, done.err) == (0, "3 files, 2 changed\n")
    assert done.out.splitlines() == [f"{tmp_path}/smsgwd.yaml", f"{folder}/a.yaml"]
    assert (folder / "a.yaml").read_bytes() == "\ufeffprovider: console\nenabled: true\n".encode()
    assert stat.S_IMODE((folder / "a.yaml").stat().st_mode) == 0o600
    assert (tmp_path / "smsgwd.yaml").read_text() == "socket: {}\nlog: {}\n"
    assert (folder / "b.yaml").stat() == before
    assert run(capsys, "fmt", str(folder)).err == "2 files, 0 changed\n"


def test_check(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """--check names the files that are not in order, writes nothing, and exits 1."""
    path = tmp_path / "a.yaml"
    path.write_text("enabled: true\nprovider: console\n")
    done = run(capsys, "fmt", "--check", str(path))
    assert (done.code, done.out, done.err) == (1, f"{path}\n", "1 file, 1 not in order\n")
    assert path.read_text().startswith("enabled")
    path.write_text("provider: console\n")
    assert run(capsys, "fmt", "--check", str(path)).code == 0


BROKEN = {
    "syntax.yaml": b"a: [\n",
    "twice.yaml": b"provider: console\nprovider: console\n",
    "binary.yaml": bytes(range(256)),
    "empty.yaml": b"",
    "anchor.yaml": b"provider: &a console\n",
}


def test_bad_input(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What cannot be read is told with its place and left alone, and does not keep others from being formatted."""
    for name, data in BROKEN.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "good.yaml").write_text("enabled: true\nprovider: console\n")
    (tmp_path / "unknown.yaml").write_text("enabld: true\nprovider: console\n")
    (tmp_path / "link.yaml").symlink_to("nowhere")
    done = run(capsys, "fmt", str(tmp_path), str(tmp_path / "missing.yaml"))
    assert done.code == 1
    assert done.out.splitlines() == [f"{tmp_path}/good.yaml", f"{tmp_path}/unknown.yaml"]
    for code in (
        "yaml-syntax",
        "duplicate-key",
        "not-utf8",
        "empty-file",
        "yaml-anchor",
        "dangling-link",
        "no-such-file",
    ):
        assert f"error[{code}]" in done.err
    assert {name: (tmp_path / name).read_bytes() for name in BROKEN} == BROKEN
    assert run(capsys, "fmt", "--config", str(tmp_path / "none")).code == 1


def test_a_file_that_may_not_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without the right to write is told, exit code 1, the file left whole."""
    with open_folder() as folder:
        path = folder / "a.yaml"
        path.write_text("enabled: true\nprovider: console\n")
        folder.chmod(0o555)
        with as_nobody():
            done = run(capsys, "fmt", str(path))
        folder.chmod(0o755)
        assert (done.code, done.err) == (1, f"smsgwd: {path}: it cannot be written: Permission denied\n")
        assert path.read_text().startswith("enabled")


def test_what_is_shipped_is_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped examples are formatted."""
    done = run(capsys, "fmt", "--check", "--config", str(CHECKOUT))
    assert (done.code, done.out) == (0, "")


def test_a_file_with_two_names(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A file that is reached by a link beside it, too, is put in order once; that is no change by somebody else."""
    file, link = tmp_path / "z.yaml", tmp_path / "a.yaml"
    file.write_text("enabled: true\nprovider: console\n")
    link.symlink_to(file.name)
    assert run(capsys, "fmt", str(tmp_path)).code == 0
    assert (file.read_text(), link.is_symlink()) == ("provider: console\nenabled: true\n", True)
