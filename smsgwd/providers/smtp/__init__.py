"""`smtp`: mails to a gateway that turns them into short messages."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from smsgwd.errors import MessageError
from smsgwd.message import Message
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers._base import Bench, KeyPath, Provider
from smsgwd.providers.smtp.mail import Mail, check_header_text, check_text, identity, read_address
from smsgwd.providers.smtp.pool import SERVICE_CLOSING, Pool
from smsgwd.providers.smtp.server import Server, server_of
from smsgwd.providers.smtp.session import SmtpReply
from smsgwd.templates import Template
from smsgwd.units import Deadline

MAX_SESSIONS = 8  # of one gateway at once; further sends wait for one inside their deadline

_WRITTEN_BY_US = {"date", "from", "to", "cc", "bcc", "sender", "subject", "message-id", "mime-version", "return-path"}
_QUEUE_IDS = re.compile(
    r"queued as <?([\w.@-]+)"  # Postfix, aiosmtpd's relatives, Amazon SES
    r"|\bid=([\w-]+)"  # Exim
    r"|2\.0\.0 (\w+) Message accepted"  # Sendmail
)
_REFUSALS = {  # by step: what a code from 500 on means; what is not in it is the message's fault
    "greeting": (Kind.UNSENT, Reason.CONFIG),
    "EHLO": (Kind.UNSENT, Reason.CONFIG),
    "STARTTLS": (Kind.UNSENT, Reason.CONFIG),
    "AUTH": (Kind.UNSENT, Reason.AUTH),
    "MAIL": (Kind.REJECTED, Reason.INVALID_SENDER),
}
_LOGIN_WANTED = {530, 534, 535, 538}  # RFC 4954, 6
_NO_SUCH_MAILBOX = {550, 551, 553}  # RFC 5321, 4.2.3
_POLICY = re.compile(r"5\.7\.")  # RFC 3463, 3.8: the address may be right


@dataclass(frozen=True, slots=True)
class Shape:
    """The templates of a mail."""

    to: tuple[Template, ...]
    subject: Template
    body: Template
    headers: tuple[tuple[str, Template], ...]

    def mail(self, message: Message, sender: str) -> Mail:
        """The mail of one message. Raises MessageError for what a mail cannot carry."""
        names = message.names()
        to = self._recipients(names)
        subject, body = self.subject.render(names), self.body.render(names)
        headers = tuple((name, template.render(names)) for name, template in self.headers)
        check_text(body)
        check_header_text("the subject", subject)
        for name, text in headers:
            check_header_text(f"the header {name}", text)
        leaves = [(self.subject, subject), (self.body, body)]
        leaves += [(template, text) for (_, template), (_, text) in zip(self.headers, headers, strict=True)]
        holding = [text for template, text in leaves if template.uses & {"message", "otp"}]
        text = holding[0] if len(holding) == 1 else message.text
        message_id, date = identity(sender)
        return Mail(text, sender, to, subject, body, headers, message_id, date)

    def _recipients(self, names: Mapping[str, str]) -> tuple[str, ...]:
        found = [read_address(template.render(names)) for template in self.to]
        if None in found:
            raise MessageError(Reason.INVALID_DESTINATION, "`mail_to` with this number is no mail address")
        return tuple(dict.fromkeys(filter(None, found)))


class SmtpProvider(Provider[Mail, SmtpReply]):
    """Sends over kept sessions with one mail server."""

    def __init__(self, server: Server, shape: Shape) -> None:
        self._server = server
        self._shape = shape
        self._pool = Pool(server, MAX_SESSIONS)

    def render(self, message: Message) -> Mail:
        """The mail, with its identity."""
        return self._shape.mail(message, self._server.sender)

    def describe(self, prepared: Mail) -> dict[str, Any]:
        """`{server, from, to, subject, body}`, and `headers` where the settings give some."""
        shown: dict[str, Any] = {
            "server": str(self._server),
            "from": prepared.sender,
            "to": list(prepared.to),
            "subject": prepared.subject,
            "body": prepared.body,
        }
        return shown | ({"headers": dict(prepared.headers)} if prepared.headers else {})

    def shaped_by(self) -> Mapping[str, Any]:
        """The server, which may stand in smsgwd.yaml; other servers there are nothing to it."""
        return {field.name: getattr(self._server, field.name) for field in fields(self._server)}

    async def submit(self, prepared: Mail, deadline: Deadline) -> SmtpReply:
        """Send it over a rested session or a new one. One that died while it rested is replaced."""
        return await self._pool.send(prepared, deadline)

    def reply_of(self, prepared: Mail, told: Mapping[str, Any]) -> SmtpReply:  # noqa: ARG002 - answers all alike
        """The server's answer to the mail itself; without our own Message-ID, which is another one for each mail."""
        return SmtpReply(told["code"], told.get("text", ""))

    def interpret(self, reply: SmtpReply) -> Outcome:
        """2xx to the content is accepted, 4xx unsent, 5xx rejected unless it is the gateway that is refused."""
        if reply.step == "content" and reply.code // 100 == 2:
            found = _QUEUE_IDS.search(reply.text)
            message_id = next(filter(None, found.groups())) if found else reply.message_id
            return Outcome(Kind.ACCEPTED, message_ids=(message_id,) if message_id else ())
        kind, reason = _meaning(reply)
        detail = f"the mail server answered {reply.code} ({reply.step})"
        again = reason not in {Reason.AUTH, Reason.CONFIG}
        return Outcome(kind, reason, detail=detail, quote=reply.text, retryable=again)

    async def close(self) -> None:
        """Leave all sessions; they have a second for it. Mails that are still under way are cut off."""
        await self._pool.close()


def _meaning(reply: SmtpReply) -> tuple[Kind, Reason]:
    """What an answer means that is not the acceptance of a mail."""
    if reply.code == SERVICE_CLOSING:
        return Kind.UNSENT, Reason.UNREACHABLE
    if reply.code // 100 == 4:
        return Kind.UNSENT, Reason.THROTTLED
    if reply.code in _LOGIN_WANTED:
        return Kind.UNSENT, Reason.AUTH
    if reply.code < 500:  # nothing that the protocol provides for
        return (Kind.UNKNOWN, Reason.PROVIDER) if reply.step == "content" else (Kind.UNSENT, Reason.CONFIG)
    if reply.step == "RCPT" and reply.code in _NO_SUCH_MAILBOX and not _POLICY.match(reply.text):
        return Kind.REJECTED, Reason.INVALID_DESTINATION
    return _REFUSALS.get(reply.step, (Kind.REJECTED, Reason.PROVIDER))


def build(settings: Mapping[str, Any], bench: Bench) -> SmtpProvider:
    """The provider of a gateway file's settings."""
    shape = Shape(
        to=_recipients(settings["mail_to"], bench),
        subject=bench.template(settings.get("subject", "{{ phone }}"), ("settings", "subject")),
        body=bench.template(settings.get("body", "{{ otp }}"), ("settings", "body")),
        headers=_headers(settings.get("headers", {}), bench),
    )
    return SmtpProvider(server_of(settings["server"], bench), shape)


def _recipients(setting: str | Sequence[str], bench: Bench) -> tuple[Template, ...]:
    at: KeyPath = ("settings", "mail_to")
    if isinstance(setting, str):
        return (_recipient(setting, at, bench),)
    return tuple(_recipient(text, (*at, index), bench) for index, text in enumerate(setting))


def _recipient(text: str, at: KeyPath, bench: Bench) -> Template:
    template = bench.template(text, at)
    if template.constant and read_address(template.render({})) is None:
        bench.problem(at, "bad-address", "this is no mail address", "one address; for several write a list")
    return template


def _headers(setting: Mapping[str, str], bench: Bench) -> tuple[tuple[str, Template], ...]:
    seen: set[str] = set()
    for name in setting:
        folded = name.lower()
        if folded in _WRITTEN_BY_US or folded.startswith("content-"):
            told, hint = f"the header {name} is written by smsgwd", "leave it out"
            bench.problem(("settings", "headers", name), "reserved-header", told, hint, on_key=True)
        if folded in seen:
            told, hint = f"the header {name} stands here twice", "names of headers do not differ by case"
            bench.problem(("settings", "headers", name), "duplicate-header", told, hint, on_key=True)
        seen.add(folded)
    return tuple((name, bench.template(text, ("settings", "headers", name))) for name, text in setting.items())
