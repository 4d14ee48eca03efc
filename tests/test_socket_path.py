import pytest

from smsgwd.socket_path import socket_path


@pytest.mark.parametrize(
    ("explicit", "environ", "configured", "uid", "path"),
    [
        ("/a", {"SMSGWD_SOCKET": "/b", "XDG_RUNTIME_DIR": "/d"}, "/c", 1000, "/a"),
        (None, {"SMSGWD_SOCKET": "/b", "XDG_RUNTIME_DIR": "/d"}, "/c", 1000, "/b"),
        ("", {"SMSGWD_SOCKET": "", "XDG_RUNTIME_DIR": "/d"}, "/c", 1000, "/c"),
        (None, {"XDG_RUNTIME_DIR": "/d"}, None, 1000, "/d/smsgwd.sock"),
        (None, {}, None, 1000, "/run/user/1000/smsgwd.sock"),
        (None, {"XDG_RUNTIME_DIR": "/d"}, None, 0, "/run/smsgwd/smsgwd.sock"),
    ],
)
def test_the_first_that_says_where_wins(
    explicit: str | None, environ: dict[str, str], configured: str | None, uid: int, path: str
) -> None:
    """The option, the environment, smsgwd.yaml, the default of root or of the user, in this order."""
    assert socket_path(explicit, configured, environ, uid) == path
