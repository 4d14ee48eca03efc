"""`smsgwd graph`: read by Mermaid's own parser and by Graphviz."""

from pathlib import Path

import pytest
from command import CHECKOUT, run
from hypothesis import given
from hypothesis import strategies as st
from readers_of_ours import asked

from smsgwd.cli.drawing import Drawing, Look, as_dot, as_mermaid

FILES = {
    "gateways.d/a.yaml": "provider: console\n",
    "gateways.d/b.yaml": (
        "provider: console\nenabled: false\n"
        "limits: {countries: {allow: [DE, AT]}, number_types: {deny: [premium_rate]}}\n"
    ),
    "gateways.d/c.yaml": "provider: consol\n",
    "gateways.d/d.yaml": (
        'provider: http\nsettings: {url: "https://sms.example.com:8443/x", form: {to: "{{ phone }}"}}\n'
    ),
    "gateways.d/over.yaml": (
        "provider: failover\nsettings:\n  gateways: [d, gone]\n  routes:\n"
        "    - {prefix: '+49', gateways: [a, b]}\n    - {prefix: '+4', country: [CH, AT], gateways: [a]}\n"
    ),
    "smsgwd.yaml": (
        "access:\n  - {users: [alert, 1001], groups: [ops], allow: [send], gateways: ['o*', 'a']}\n"
        "  - {groups: [admins], allow: [status]}\n  - {users: [login], allow: [otp_challenge], gateways: [a]}\n"
        "  - {users: ['token:portal'], allow: [send], text: false, gateways: [a]}\n"
        f"tokens: {{portal: {{hash: 'sha256:{'0' * 64}'}}}}\n"
        "listen: [{tcp: 127.0.0.1:8443, allow: [send]}, {tcp: 127.0.0.1:8444, allow: [status]}]\n"
    ),
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with a gateway of each sort."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_what_graphviz_draws(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """Callers, gateways, what is disabled, broken or missing, and every choice with its order."""
    done = run(capsys, "graph", "--config", str(config), "--format", "dot")
    assert (done.code, done.err) == (0, "smsgwd: there are errors: see smsgwd check\n")
    (drawn,) = asked("dot.mjs", [done.out])
    caller, over = r"users alert, 1001\ngroup ops", r"over\nfailover"
    boxes = [
        r"a\nconsole",
        r"b\nconsole\nonly AT, DE\nnot premium_rate\ndisabled",
        r"c\nhas errors",
        r"d\nhttp: sms.example.com:8443",
    ]
    anybody = r"whoever comes to\n127.0.0.1:8443"
    assert drawn["boxes"] == [caller, "user login", "user token:portal", anybody, *boxes, over, r"gone\ndoes not exist"]
    assert drawn["arrows"] == [
        [caller, boxes[0], ""],
        [caller, over, ""],
        ["user login", boxes[0], "challenges"],
        ["user token:portal", boxes[0], "by template"],
        *([anybody, box, ""] for box in (*boxes, over)),
        [over, boxes[0], r"+49: 1\n+4 AT, CH: 1"],
        [over, boxes[1], "+49: 2"],
        [over, boxes[3], "else: 1"],
        [over, r"gone\ndoes not exist", "else: 2"],
    ]


def test_mermaid(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """The same, in the words of Mermaid."""
    done = run(capsys, "graph", "--config", str(config))
    assert asked("mermaid.mjs", [done.out]) == ["flowchart-v2"]
    assert '    n0(["users alert, 1001<br/>group ops"])\n' in done.out
    assert '    n5["b<br/>console<br/>only AT, DE<br/>not premium_rate<br/>disabled"]:::disabled\n' in done.out
    assert '    n6["c<br/>has errors"]:::broken\n' in done.out
    assert '    n8{{"over<br/>failover"}}\n' in done.out
    assert '    n8 --> |"+49: 1<br/>+4 AT, CH: 1"| n4\n' in done.out


def test_the_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped configuration is drawn in both formats; without rules everyone may send."""
    texts = {kind: run(capsys, "graph", "--config", str(CHECKOUT), "--format", kind).out for kind in ("mermaid", "dot")}
    assert asked("mermaid.mjs", [texts["mermaid"]]) == ["flowchart-v2"]
    (drawn,) = asked("dot.mjs", [texts["dot"]])
    assert drawn["boxes"][0] == r"everyone who can\nopen the socket"
    assert len(drawn["boxes"]) == 1 + len(list((CHECKOUT / "gateways.d").glob("*.yaml")))


ODD = [
    '"',
    "\\",
    "#quot;",
    "<b>",
    "`a`",
    "%%{init: {}}%%",
    "end",
    "a|b",
    "]) --> x",
    "\n",
    "\x1b[1m",
    "{{ x }}",
    "ü 漢 😀",
    "&amp;",
    ";",
]


def test_no_name_breaks_a_drawing() -> None:
    """Whatever users, groups and hosts are called, both readers see the boxes and arrows that are meant."""
    drawings = []
    for odd in [*ODD, "".join(ODD)]:
        drawing = Drawing()
        drawing.box("x", Look.CALLER, odd, f"a{odd}")
        drawing.box("y", Look.BROKEN, "y")
        drawing.arrow("x", "y", odd)
        drawings.append(drawing)
    assert asked("mermaid.mjs", [as_mermaid(one) for one in drawings]) == ["flowchart-v2"] * len(drawings)
    for drawn in asked("dot.mjs", [as_dot(one) for one in drawings]):
        assert len(drawn["boxes"]) == 2
        assert len(drawn["arrows"]) == 1


@given(st.lists(st.text(max_size=8), max_size=5))
def test_a_line_for_each_box_and_arrow(names: list[str]) -> None:
    """No text adds a line to a drawing."""
    drawing = Drawing()
    for name in names:
        drawing.box(name, Look.GATEWAY, name)
        drawing.arrow(names[0], name, name)
    assert as_mermaid(drawing).count("\n") == 1 + len(set(names)) * 2
    assert as_dot(drawing).count("\n") == 3 + len(set(names)) * 2


def test_a_broken_smsgwd_yaml(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """Where nobody can say who may do what, nobody is drawn."""
    (config / "smsgwd.yaml").write_text("acess: []\n")
    done = run(capsys, "graph", "--config", str(config), "--format", "dot")
    assert done.code == 0
    assert "oval" not in done.out


def test_nothing_to_draw(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A folder that is not there, or without gateways.d, is told."""
    done = run(capsys, "graph", "--config", str(tmp_path / "gone"))
    assert (done.code, done.out, done.err) == (1, "", f"smsgwd: {tmp_path}/gone: it does not exist\n")
    done = run(capsys, "graph", "--config", str(tmp_path))
    assert (done.code, done.out, done.err) == (1, "", f"smsgwd: {tmp_path} has no folder gateways.d\n")
