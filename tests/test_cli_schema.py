import json

import pytest
from command import CHECKOUT, run


@pytest.mark.parametrize(
    ("arguments", "name"), [((), "gateway"), (("gateway",), "gateway"), (("http",), "http"), (("smsgwd",), "smsgwd")]
)
def test_schema(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], name: str) -> None:
    """A schema is printed as it is in its file; that of a whole gateway file when nothing is named."""
    done = run(capsys, "schema", *arguments)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == json.loads((CHECKOUT / "schemas" / f"{name}.schema.json").read_text("utf-8"))


@pytest.mark.parametrize("name", ["htpp", "", "../gateway", "gateway.schema.json"])
def test_no_such_schema(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """A name without a schema is wrong usage, and the names that there are are told."""
    done = run(capsys, "schema", name)
    assert (done.code, done.out) == (2, "")
    assert f"there is no schema {name!r}; choose from " in done.err
    assert "http" in done.err
