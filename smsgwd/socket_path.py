"""Where the socket is: one rule for the daemon, the command and the client."""

import os
from collections.abc import Mapping

SYSTEM_SOCKET = "/run/smsgwd/smsgwd.sock"


def socket_path(
    explicit: str | None = None,
    configured: str | None = None,
    environ: Mapping[str, str] = os.environ,
    uid: int | None = None,
) -> str:
    """The socket's path: `--socket`, `$SMSGWD_SOCKET`, `socket.path` of smsgwd.yaml, else the user's own default."""
    return explicit or environ.get("SMSGWD_SOCKET") or configured or default_path(environ, uid)


def default_path(environ: Mapping[str, str] = os.environ, uid: int | None = None) -> str:
    """Where nothing was said: below /run for root, in the runtime directory of the session for others."""
    uid = os.geteuid() if uid is None else uid
    if uid == 0:
        return SYSTEM_SOCKET
    # $XDG_RUNTIME_DIR is what systemd sets for a session; without one, its usual place names the user as well.
    return os.path.join(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}", "smsgwd.sock")  # noqa: PTH118 - the client wants text, and quickly
