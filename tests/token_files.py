"""Token files for tests: one number, one PIN, and hashes that can be looked for in whatever is printed."""

from collections.abc import Mapping
from pathlib import Path

NUMBER = "+491739988776"
NATIONAL = "01739988776"
PIN = "sesam-2580"
SALT, VALUE = "YSBjYW5hcnkncyBzYWx0IQ", "YSBjYW5hcnkncyBoYXNoLCBtYWRlIG9mIG5vIFBJTiE"
HASH = f"$scrypt$ln=15,r=8,p=1${SALT}${VALUE}"
OTHER_HASH = HASH.replace(SALT, "YW5vdGhlciBzYWx0IGhlcmU")
CANARIES = (NUMBER, NUMBER[3:], NATIONAL, PIN, SALT, VALUE)
CONSOLE = """\
provider: console
templates:
  login: {text: "Your code is {{ otp }}"}
  alert: {text: "Something is wrong"}
  greeting: {text: "Hello {{ name }}, {{ otp }}", vars: {name: {}}}
"""


def token(
    user: str = "alice", *, phone: str = NUMBER, gateway: str = "console", pin: str = HASH, more: str = ""
) -> str:
    """The text of a token file."""
    return f'user: {user}\nphone: "{phone}"\ngateway: {gateway}\npin: {{hash: "{pin}"}}\n{more}'


def configured(folder: Path, tokens: Mapping[str, str], gateways: Mapping[str, str] | None = None) -> Path:
    """A configuration with these token files, and the gateway `console` if there are no others."""
    for name, text in (gateways or {"console": CONSOLE}).items():
        path = folder / "gateways.d" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "tokens.d").mkdir(exist_ok=True)
    for name, text in tokens.items():
        (folder / "tokens.d" / f"{name}.yaml").write_text(text)
    return folder


def leaked(text: str) -> list[str]:
    """Which of the canaries stand in a text."""
    return [canary for canary in CANARIES if canary in text]
