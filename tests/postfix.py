"""A real Postfix on loopback, with a configuration and a queue of its own. It needs root: it changes users itself."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from patience import wait_until

MAIN = """
compatibility_level = 3.6
queue_directory = {top}/queue
data_directory = {top}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {top}/log
maillog_file_prefixes = {top}
myhostname = mail.example.com
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 192.0.2.0/24
mydestination =
virtual_mailbox_domains = sms.example.com
virtual_mailbox_base = {top}
virtual_mailbox_maps = inline:{{ +491701234567@sms.example.com=inbox/ }}
virtual_minimum_uid = 1
virtual_uid_maps = static:{user}
virtual_gid_maps = static:{group}
smtpd_relay_restrictions = reject_unauth_destination
smtpd_tls_security_level = encrypt
smtpd_tls_chain_files = {top}/server.pem
smtputf8_enable = no
"""
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running Postfix; mails to +491701234567@sms.example.com end in its inbox, all others are refused."""

    top: Path
    port: int

    def inbox(self) -> list[bytes]:
        """The mails that were delivered, as they lie in the Maildir."""
        return [path.read_bytes() for path in sorted(self.top.glob("inbox/new/*"))]

    def log(self) -> str:
        """What it wrote."""
        return (self.top / "log").read_text()


@contextmanager
def running(certificate: bytes) -> Iterator[Postfix]:
    """Serve with STARTTLS by this certificate (PEM, with its key)."""
    top = Path(tempfile.mkdtemp(prefix="postfix-"))
    try:
        postfix = Postfix(top, _free_port())
        _configure(postfix, certificate)
        control = ["/usr/sbin/postfix", "-c", str(top / "conf")]
        subprocess.run([*control, "start"], check=True, capture_output=True)
        try:
            wait_until(lambda: listens(postfix.port))
            yield postfix
        finally:
            subprocess.run([*control, "stop"], check=True, capture_output=True)
    finally:
        shutil.rmtree(top)


def _configure(postfix: Postfix, certificate: bytes) -> None:
    top, owner = postfix.top, pwd.getpwnam("postfix")
    top.chmod(0o755)
    for name in ("conf", "queue", "data", "inbox"):
        (top / name).mkdir()
    for name in ("data", "inbox"):
        os.chown(top / name, owner.pw_uid, owner.pw_gid)
    (top / "server.pem").write_bytes(certificate)
    (top / "conf/main.cf").write_text(MAIN.format(top=top, user=owner.pw_uid, group=owner.pw_gid))
    (top / "conf/master.cf").write_text(MASTER.format(port=postfix.port))
    for name in ("dynamicmaps.cf", "postfix-files"):
        shutil.copy(f"/etc/postfix/{name}", top / "conf" / name)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return False
    return True
