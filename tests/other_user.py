"""Calls to the socket by a real process, which can become somebody else where we are root."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

IS_ROOT = os.geteuid() == 0
Call = tuple[str, str, Sequence[str]]  # method, target, and the gateways to send `hi` to: several make a stream

_CLIENT = """
import http.client, json, socket, sys
path, calls = sys.argv[1], json.loads(sys.argv[2])
class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
answers = []
for method, target, gateways in calls:
    text = "{{ otp }}" if target == "/v1/challenges" else "hi"
    lines = [json.dumps({"gateway": one, "to": "+491701234567", "text": text}) for one in gateways]
    kind = "application/x-ndjson" if lines[1:] else "application/json"
    connection = Connection("smsgwd")
    connection.request(method, target, "\\n".join(lines), {"Content-Type": kind})
    answer = connection.getresponse()
    text, kind = answer.read().decode(), answer.headers["Content-Type"]
    answers.append([answer.status, json.loads(text) if kind.endswith(("/json", "+json")) else text])
    connection.close()
print(json.dumps(answers))
"""


def become(uid: int, groups: Sequence[int] = ()) -> list[str]:
    """The words before a command that make it another user's."""
    supplementary = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", supplementary]


def called(prefix: Sequence[str], path: Path, calls: Sequence[Call]) -> list[tuple[int, Any]]:
    """Status and content of each answer to a process started with these words before it."""
    # Not the one of our environment: another user may not be able to enter its folder. Any Python 3 does.
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
    done = subprocess.run(
        [*prefix, python, "-I", "-c", _CLIENT, str(path), json.dumps(calls)],
        stdout=subprocess.PIPE,
        check=True,
        timeout=30,
        cwd="/",
    )
    return [(status, content) for status, content in json.loads(done.stdout)]
