"""The provider `smtp`: against aiosmtpd, and against a server that misbehaves on demand."""

import asyncio
import email
import email.policy
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from email.header import decode_header, make_header
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import fake_smtp
import pytest
import trustme
from drafting import built, message
from fake_smtp import CLOSE, CUT, DRIP, SILENCE, TRICKLE, Mailbox, Scripted, mail_server
from hypothesis import given, settings
from hypothesis import strategies as st

from smsgwd.errors import MessageError, Severity, SubmitError
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers import smtp
from smsgwd.providers._base import Site
from smsgwd.providers.smtp import SmtpProvider
from smsgwd.providers.smtp.mail import Mail, header, read_address
from smsgwd.providers.smtp.session import SmtpReply
from smsgwd.secret import MASKED, Secret
from smsgwd.units import Deadline

PHONE = "+491701234567"
SECRETS = {"mail": "s3cret ü"}


def made(server: Mapping[str, Any] | str, *, site: Site | None = None, **settings: Any) -> SmtpProvider:
    whole = {"server": server, "mail_to": "{{ phone }}@sms.example.com", **settings}
    provider, problems = built(smtp.build, whole, site=site, secrets=SECRETS)
    assert not problems
    return provider


def findings(server: Mapping[str, Any] | str, *, site: Site | None = None, **settings: Any) -> list[tuple[str, str]]:
    whole = {"server": server, "mail_to": "{{ phone }}@sms.example.com", **settings}
    _, problems = built(smtp.build, whole, site=site, secrets=SECRETS)
    return [(problem.code, problem.pointer) for problem in problems]


def at(port: int, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "tls": "none", "from": "sms@example.com", **more}


async def send(provider: SmtpProvider, text: str = "Your code is 4711", deadline_s: float = 20.0) -> Outcome:
    return provider.interpret(await provider.submit(provider.render(message(text)), Deadline.after(deadline_s)))


def received(content: bytes) -> EmailMessage:
    return email.message_from_bytes(content, EmailMessage, policy=email.policy.default)


def body_of(content: bytes) -> str:
    part = received(content)
    octets = part.get_payload(decode=True)
    assert isinstance(octets, bytes)
    return octets.decode()


def subject_of(content: bytes) -> str:
    raw = email.message_from_bytes(content)["Subject"]
    return str(make_header(decode_header(raw.replace("\r\n", ""))))


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await main()

    asyncio.run(whole())


# What goes on the wire


def test_a_mail() -> None:
    """Number and message arrive at the address of the gateway, with the headers that a mail needs."""

    async def main() -> None:
        mailbox = Mailbox()
        async with mail_server(mailbox) as port:
            provider = made(at(port))
            outcome = await send(provider)
            await provider.close()
        assert outcome == Outcome(Kind.ACCEPTED, message_ids=("4XyZ12",))
        (envelope,) = mailbox.envelopes
        assert (envelope.mail_from, envelope.rcpt_tos) == ("sms@example.com", [f"{PHONE}@sms.example.com"])
        mail = received(mailbox.contents[0])
        assert (mail["From"], mail["To"]) == ("sms@example.com", f"{PHONE}@sms.example.com")
        assert (mail["Subject"], mail["MIME-Version"], mail["Auto-Submitted"]) == (PHONE, "1.0", "auto-generated")
        assert mail["Content-Type"] == 'text/plain; charset="utf-8"'
        assert mail["Content-Transfer-Encoding"] == "7bit"
        assert mail["Message-ID"].endswith("@example.com>")
        assert mail["Date"].datetime.utcoffset() is not None
        assert not {"4711", "1701234567"} & set(mail["Message-ID"].split("@"))
        assert mailbox.contents[0].endswith(b"\r\n\r\nYour code is 4711\r\n")

    run(main)


TEXTS = {
    "umlauts": "Grüße aus Köln: 25 €",
    "emoji": "😀" * 200,
    "two blanks between words outside ASCII": "ä  ü   ö " * 30,
    "blanks at the ends": "  hi  ",
    "looks like an encoded word": "=?utf-8?q?x?=",
    "half an encoded word": "=?utf-8?q?",
    "long": "word " * 180 + "end",
    "longer than a line may be": "x" * 3000,
    "longer than a line, outside ASCII": "ü" * 3000,
    "tab": "a\tb",
    "control characters": "\x00\x01\x1b[31m\x7f\x85\u2028",
    "colons": "X-Injected: yes",
    "empty": "",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("eight_bit", [True, False])
def test_texts_arrive_as_written(text: str, *, eight_bit: bool) -> None:
    """Any text arrives as it was written, as subject and as body, whether the server takes 8 bits or not."""

    async def main() -> None:
        server = Scripted({} if eight_bit else {"EHLO": "250 fake"})
        async with server.serve():
            provider = made(at(server.port), subject="{{ message }}", body="{{ message }}")
            assert (await send(provider, text)).kind is Kind.ACCEPTED
            await provider.close()
        content = server.contents[0].replace(b"\r\n..", b"\r\n.")[: -len(b".\r\n")]
        assert subject_of(content) == text
        assert body_of(content).replace("\r\n", "\n") == text + "\n"
        assert eight_bit or content.isascii()
        assert max(map(len, content.split(b"\r\n"))) <= 998
        eight_bits_said = any("BODY=8BITMIME" in line for line in server.commands[0])
        assert eight_bits_said is not content.isascii()

    run(main)


BODIES = {
    "dots": ".\n..\n.hidden\nend\n.",
    "no end": "a\nb",
    "an end": "a\nb\n",
    "CRLF": "a\r\nb\r\n",
    "the end of a mail": "a\r\n.\r\nMAIL FROM:<x@y>\r\n",
    "bare CR": "a\rb",
    "From": "From here on",
    "blank lines": "\n\n\n",
}


@pytest.mark.parametrize("text", BODIES.values(), ids=BODIES)
def test_bodies_arrive_as_written(text: str) -> None:
    """Dots, ends of lines and empty lines of a body arrive; the server never sees a wrong end of a line."""

    async def main() -> None:
        mailbox = Mailbox()
        async with mail_server(mailbox) as port:
            provider = made(at(port), subject="x")
            assert (await send(provider, text)).kind is Kind.ACCEPTED
            await provider.close()
        assert len(mailbox.envelopes) == 1
        assert body_of(mailbox.contents[0]).replace("\r\n", "\n") == text.replace("\r\n", "\n") + "\n"
        assert b"\n" not in mailbox.contents[0].replace(b"\r\n", b"")
        assert b"\r" not in mailbox.contents[0].replace(b"\r\n", b"")

    run(main)


@settings(deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=300), eight_bit=st.booleans())
def test_any_mail_is_read_as_it_was_written(text: str, *, eight_bit: bool) -> None:
    """Whatever the text: no line is too long, the structure stays, and subject and body read as they were written."""
    subject = text.replace("\r", "").replace("\n", "")
    mail = Mail(
        text, "a@b.c", ("d@e.f",), subject, text, (("X-Text", subject),), "id@b.c", "Sun, 22 Nov 2026 09:00:00 +0000"
    )
    content = mail.octets(eight_bit=eight_bit)
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert b"\r" not in content.replace(b"\r\n", b"")
    names = [line.partition(b":")[0] for line in content.partition(b"\r\n\r\n")[0].split(b"\r\n") if line[:1] != b" "]
    assert names[3:5] + names[9:] == [b"Subject", b"Message-ID", b"X-Text"]
    assert subject_of(content) == subject
    assert body_of(content).replace("\r\n", "\n") == text.replace("\r\n", "\n") + "\n"


def test_encoded_words_keep_the_limits() -> None:
    """A line with an encoded word has 76 characters at most, and no word splits a character (RFC 2047, 2 and 5)."""
    lines = header("Subject", "Grüße, 😀 " * 50).split("\r\n")
    assert max(map(len, lines)) <= 76
    for line in lines:
        word = line.removeprefix("Subject:").strip()
        assert "\ufffd" not in str(make_header(decode_header(word)))


def test_what_a_header_cannot_carry_is_rejected() -> None:
    """A line break in what becomes a header is rejected/content: nothing of a message can become a header."""
    for where in ({"subject": "{{ message }}"}, {"headers": {"X-Text": "{{ message }}"}}):
        provider = made(at(25), **where)
        for text in ("a\nBcc: x@example.com", "a\r\nb", "a\rb"):
            with pytest.raises(MessageError) as caught:
                provider.render(message(text))
            assert caught.value.reason is Reason.CONTENT


@pytest.mark.parametrize(
    "phone",
    ["1, x@evil.example", "x@evil.example>", "a b", "a\nb", "", '"', "a\u2028b", "<", "a..b", "x" * 65, "(c)", "ü\x85"],
)
def test_a_number_cannot_change_the_address(phone: str) -> None:
    """What would end the address, add another, or make it none, is rejected/invalid_destination."""
    with pytest.raises(MessageError) as caught:
        made(at(25)).render(message(phone=phone))
    assert caught.value.reason is Reason.INVALID_DESTINATION


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a@b", "a@b"),
        ("+49@sms.example.com", "+49@sms.example.com"),
        ('"a b"@example.com', '"a b"@example.com'),
        ("a@[127.0.0.1]", "a@[127.0.0.1]"),
        ("a@[IPv6:::1]", "a@[IPv6:::1]"),
        ("ü@example.com", "ü@example.com"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("a", None),
        ("a@", None),
        ("@b", None),
        ("a@b@c", None),
        ("a@-b.c", None),
        ("a@b..c", None),
        ("A <a@b>", None),
        ("a@b\n", None),
        ('"a"b"@c', None),
        (f"a@{'b' * 63}.{'c' * 63}.{'d' * 63}.{'e' * 63}", None),
        (f"a@{'ü' * 70}.example", None),
    ],
)
def test_addresses(text: str, read: str | None) -> None:
    """One address is read; a list, a display name and what is none are not."""
    assert read_address(text) == read


def test_several_recipients_and_headers() -> None:
    """A list of recipients gets one mail, each of them once; further headers stand in it, ours may be replaced."""

    async def main() -> None:
        mailbox = Mailbox()
        async with mail_server(mailbox) as port:
            provider = made(
                at(port),
                mail_to=["{{ phone }}@a.example", "desk@b.example", "desk@b.example"],
                subject="",
                headers={"X-Ref": "<{{ reference }}> ü", "Auto-Submitted": "no"},
                body="{{ sender }}: {{ otp }}",
            )
            prepared = provider.render(message(reference="r-1", sender="ACME"))
            await provider.submit(prepared, Deadline.after(20))
            await provider.close()
        assert mailbox.envelopes[0].rcpt_tos == [f"{PHONE}@a.example", "desk@b.example"]
        mail = received(mailbox.contents[0])
        assert mail["To"] == f"{PHONE}@a.example, desk@b.example"
        assert (mail["Subject"], mail["X-Ref"], mail.get_all("Auto-Submitted")) == ("", "<r-1> ü", ["no"])
        assert prepared.text == "ACME: Your code is 4711"
        assert provider.describe(prepared) == {
            "server": f"127.0.0.1:{port}",
            "from": "sms@example.com",
            "to": [f"{PHONE}@a.example", "desk@b.example"],
            "subject": "",
            "body": "ACME: Your code is 4711",
            "headers": {"X-Ref": "<r-1> ü", "Auto-Submitted": "no"},
        }

    run(main)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "hi"),
        ({"subject": "{{ message }}!", "body": "fixed"}, "hi!"),
        ({"subject": "{{ message }}!", "body": "{{ otp }}?"}, "hi"),
        ({"subject": "{{ phone }}", "body": "fixed", "headers": {"X-T": "<{{ otp }}>"}}, "<hi>"),
        ({"body": "fixed"}, "hi"),
    ],
)
def test_what_the_recipient_reads(settings: dict[str, Any], text: str) -> None:
    """Segments are counted from the one leaf that holds the message, else from the message."""
    assert made(at(25), **settings).render(message("hi")).text == text


def test_addresses_outside_ascii() -> None:
    """An address outside ASCII is sent to a server that offers SMTPUTF8; another is unsent/config."""

    async def main() -> None:
        mailbox = Mailbox()
        async with mail_server(mailbox) as port:
            provider = made(at(port), mail_to="jürgen@bücher.example")
            assert (await send(provider)).kind is Kind.ACCEPTED
            await provider.close()
        assert mailbox.envelopes[0].rcpt_tos == ["jürgen@xn--bcher-kva.example"]
        assert "To: jürgen@xn--bcher-kva.example".encode() in mailbox.contents[0]
        assert mailbox.envelopes[0].smtp_utf8
        async with mail_server(Mailbox(), enable_SMTPUTF8=False) as port:
            provider = made(at(port), mail_to="jürgen@bücher.example")
            with pytest.raises(SubmitError) as caught:
                await send(provider)
            await provider.close()
        assert (caught.value.reason, caught.value.handed_over, caught.value.retryable) == (Reason.CONFIG, False, False)

    run(main)


def test_domains_outside_ascii_need_no_extension() -> None:
    """A domain goes out in ASCII (IDNA), that of the sender too: any server takes it."""

    async def main() -> None:
        mailbox = Mailbox()
        async with mail_server(mailbox, enable_SMTPUTF8=False) as port:
            provider = made(at(port, **{"from": "sms@bücher.example"}), mail_to="gate@bücher.example")
            assert (await send(provider)).kind is Kind.ACCEPTED
            await provider.close()
        assert mailbox.envelopes[0].mail_from == "sms@xn--bcher-kva.example"
        assert mailbox.envelopes[0].rcpt_tos == ["gate@xn--bcher-kva.example"]
        assert mailbox.contents[0].isascii()

    run(main)


# TLS and login


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    ca = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return ca, path


def server_context(ca: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(name).configure_cert(context)
    return context


LOGIN_IN_THE_CLEAR: dict[str, Any] = {
    "authenticator": fake_smtp.password_is_secret,
    "auth_required": True,
    "auth_require_tls": False,
}
LOGIN = {"username": "sms", "password": "{{ secrets.mail }}"}


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # aiosmtpd does not see the outer TLS
@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_tls_and_login(authority: tuple[trustme.CA, Path], tls: str) -> None:
    """With STARTTLS and with TLS from the start the certificate is verified and the login goes through it."""
    ca, ca_file = authority
    context = server_context(ca, "127.0.0.1")
    inner: dict[str, Any] = {"tls_context": context, "require_starttls": True}
    outer: dict[str, Any] = {"tls": context, "auth_require_tls": False}
    options = inner if tls == "starttls" else outer

    async def main() -> None:
        mailbox = Mailbox()
        options.update(authenticator=fake_smtp.password_is_secret, auth_required=True)
        async with mail_server(mailbox, **options) as port:
            provider = made(at(port, tls=tls, ca_file=str(ca_file), **LOGIN))
            outcomes = await asyncio.gather(*(send(provider) for _ in range(5)))
            outcomes.append(await send(provider))
            await provider.close()
        assert {outcome.kind for outcome in outcomes} == {Kind.ACCEPTED}
        assert all(session.ssl is not None or tls == "tls" for session in mailbox.sessions)
        assert all(session.authenticated for session in mailbox.sessions)

    run(main)


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # that is what is tested
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_login_mechanisms(mechanism: str) -> None:
    """Each way to log in is used when the server offers no other."""
    other = {"PLAIN": "LOGIN", "LOGIN": "PLAIN"}[mechanism]

    async def main() -> None:
        mailbox = Mailbox()
        async with mail_server(mailbox, auth_exclude_mechanism=[other], **LOGIN_IN_THE_CLEAR) as port:
            provider = made(at(port, **LOGIN))
            assert (await send(provider)).kind is Kind.ACCEPTED
            await provider.close()

    run(main)


def test_cram_md5() -> None:
    """In the clear the login that hides the password is taken first (the example of RFC 2195)."""
    challenge = "PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"
    server = Scripted({"EHLO": "250-fake\r\n250 AUTH PLAIN LOGIN CRAM-MD5", "AUTH": f"334 {challenge}"})
    expected = "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"

    async def main() -> None:
        async with server.serve():
            server.answers[expected.upper()] = "235 in"
            whole = {"server": at(server.port, username="tim", password="{{ secrets.p }}"), "mail_to": "a@b.c"}
            provider, _ = built(smtp.build, whole, secrets={"p": "tanstaaftanstaaf"})
            assert (await send(provider)).kind is Kind.ACCEPTED
            await provider.close()

    run(main)
    assert server.commands[0][1:3] == ["AUTH CRAM-MD5", expected]


LOGIN_FAULTS: dict[str, tuple[dict[str, str | list[str]], Kind, Reason]] = {
    "wrong password": ({"AUTH": "535 5.7.8 no"}, Kind.UNSENT, Reason.AUTH),
    "not now": ({"AUTH": "454 4.7.0 later"}, Kind.UNSENT, Reason.THROTTLED),
    "an endless dialogue": ({"AUTH": "334 x", "AHNTCWBZM2NYZXQGW7W=": "334 "}, Kind.UNSENT, Reason.CONFIG),
    "login wanted": ({"MAIL": "530 5.7.0 login first"}, Kind.UNSENT, Reason.AUTH),
}


@pytest.mark.parametrize("name", LOGIN_FAULTS)
def test_a_refused_login(name: str) -> None:
    """Refused credentials are unsent/auth and not tried again; a server that cannot look now is."""
    answers, kind, reason = LOGIN_FAULTS[name]
    answers = {"EHLO": "250-fake\r\n250 AUTH=PLAIN", "AUTH": ["334 ", "235 in"], **answers}

    async def main() -> None:
        server = Scripted(answers)
        async with server.serve():
            provider = made(at(server.port, **LOGIN))
            outcome = await send(provider)
            await provider.close()
        assert (outcome.kind, outcome.reason) == (kind, reason)
        assert outcome.retryable is (reason is Reason.THROTTLED)
        assert not server.contents

    run(main)


def test_a_wrong_password_is_tried_once() -> None:
    """However many ways to log in a server offers, a refused password is not offered again: accounts get locked."""

    async def main() -> None:
        server = Scripted({"EHLO": "250-fake\r\n250 AUTH LOGIN PLAIN", "AUTH": ["334 ", "334 "], "C21Z": "334 "})
        server.answers["CZNJCMV0IMO8"] = "535 5.7.8 no"
        async with server.serve():
            provider = made(at(server.port, **LOGIN))
            assert (await send(provider)).reason is Reason.AUTH
            await provider.close()
        assert [line.split()[0] for said in server.commands for line in said].count("AUTH") == 1

    run(main)


def test_no_common_login() -> None:
    """A server that offers no login that we know is unsent/auth, and gets no password."""

    async def main() -> None:
        server = Scripted({"EHLO": "250-fake\r\n250 AUTH GSSAPI XOAUTH2"})
        async with server.serve():
            provider = made(at(server.port, **LOGIN))
            with pytest.raises(SubmitError) as caught:
                await send(provider)
            await provider.close()
        assert (caught.value.reason, caught.value.handed_over, caught.value.retryable) == (Reason.AUTH, False, False)
        assert [line for line in server.commands[0] if "AUTH" in line] == []

    run(main)


def test_where_tls_is_wanted_nothing_goes_out_without(authority: tuple[trustme.CA, Path], tmp_path: Path) -> None:
    """No STARTTLS, a plain server behind TLS, a wrong name, an unknown authority, words before TLS: unsent/config."""
    ca, ca_file = authority
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    mailbox = Mailbox()

    async def refused(port: int, **server: Any) -> str:
        provider = made(at(port, **LOGIN, **server))
        with pytest.raises(SubmitError) as caught:
            await send(provider)
        await provider.close()
        assert (caught.value.reason, caught.value.handed_over, caught.value.retryable) == (Reason.CONFIG, False, False)
        return caught.value.detail

    async def main() -> None:
        trusted = str(ca_file)
        scripted = Scripted({"EHLO": "250-fake\r\n250 AUTH PLAIN"})
        async with scripted.serve():
            assert "does not offer STARTTLS" in await refused(scripted.port, tls="starttls", ca_file=trusted)
            assert "TLS with the mail server failed" in await refused(scripted.port, tls="tls", ca_file=trusted)
            scripted.answers.update(EHLO="250-fake\r\n250 STARTTLS", STARTTLS="220 go\r\n250 AUTH PLAIN")
            assert "before the encryption began" in await refused(scripted.port, tls="starttls", ca_file=trusted)
        assert not [line for said in scripted.commands for line in said if "AUTH" in line or "MAIL" in line]
        for context, file in (
            (server_context(ca, "other.example"), trusted),
            (server_context(ca, "127.0.0.1"), str(other)),
        ):
            async with mail_server(mailbox, tls_context=context) as port:
                assert "TLS with the mail server failed" in await refused(port, tls="starttls", ca_file=file)
            async with mail_server(mailbox, tls=context) as port:
                assert "TLS with the mail server failed" in await refused(port, tls="tls", ca_file=file)
        assert not mailbox.envelopes

    run(main)


def test_verify_false_takes_any_certificate(authority: tuple[trustme.CA, Path]) -> None:
    """With verify: false a certificate of an unknown authority and another name is taken."""

    async def main() -> None:
        mailbox = Mailbox()
        async with mail_server(mailbox, tls_context=server_context(authority[0], "other.example")) as port:
            provider = made(at(port, tls="starttls", verify=False))
            assert (await send(provider)).kind is Kind.ACCEPTED
            await provider.close()
        assert mailbox.sessions[0].ssl

    run(main)


# Outcomes

STEPS: dict[str, tuple[dict[str, str | list[str]], Kind, Reason | None]] = {
    "all well": ({}, Kind.ACCEPTED, None),
    "251 will forward": ({"RCPT": "251 elsewhere"}, Kind.ACCEPTED, None),
    "no service here": ({"greeting": "554 go away"}, Kind.UNSENT, Reason.CONFIG),
    "busy at the door": ({"greeting": "421 too many connections"}, Kind.UNSENT, Reason.UNREACHABLE),
    "later at the door": ({"greeting": "450 later"}, Kind.UNSENT, Reason.THROTTLED),
    "no EHLO, but HELO": ({"EHLO": "502 what"}, Kind.ACCEPTED, None),
    "neither EHLO nor HELO": ({"EHLO": "502 what", "HELO": "502 what"}, Kind.UNSENT, Reason.CONFIG),
    "EHLO later": ({"EHLO": "451 later"}, Kind.UNSENT, Reason.THROTTLED),
    "sender refused": ({"MAIL": "550 5.1.8 not you"}, Kind.REJECTED, Reason.INVALID_SENDER),
    "sender later": ({"MAIL": "451 4.3.0 later"}, Kind.UNSENT, Reason.THROTTLED),
    "greylisted": ({"RCPT": "450 4.2.0 greylisted"}, Kind.UNSENT, Reason.THROTTLED),
    "no such mailbox": ({"RCPT": "550 5.1.1 unknown"}, Kind.REJECTED, Reason.INVALID_DESTINATION),
    "mailbox name": ({"RCPT": "553 what"}, Kind.REJECTED, Reason.INVALID_DESTINATION),
    "relay denied": ({"RCPT": "554 5.7.1 relay access denied"}, Kind.REJECTED, Reason.PROVIDER),
    "policy": ({"RCPT": "550 5.7.1 policy"}, Kind.REJECTED, Reason.PROVIDER),
    "no data": ({"DATA": "554 no valid recipients"}, Kind.REJECTED, Reason.PROVIDER),
    "data later": ({"DATA": "451 later"}, Kind.UNSENT, Reason.THROTTLED),
    "data answered wrongly": ({"DATA": "250 ok"}, Kind.UNSENT, Reason.CONFIG),
    "content refused": ({"content": "554 5.6.0 spam"}, Kind.REJECTED, Reason.PROVIDER),
    "content later": ({"content": "452 4.3.1 disk full"}, Kind.UNSENT, Reason.THROTTLED),
    "content, then closing": ({"content": "421 closing"}, Kind.UNSENT, Reason.UNREACHABLE),
    "content answered wrongly": ({"content": "354 go on"}, Kind.UNKNOWN, Reason.PROVIDER),
}


@pytest.mark.parametrize("name", STEPS)
def test_answers(name: str) -> None:
    """4xx is unsent, 5xx rejected unless it is the gateway that is refused; the words are there to be quoted."""
    answers, kind, reason = STEPS[name]

    async def main() -> None:
        server = Scripted(dict(answers))
        async with server.serve():
            provider = made(at(server.port))
            outcome = await send(provider)
            await provider.close()
        assert (outcome.kind, outcome.reason) == (kind, reason)
        if kind is not Kind.ACCEPTED:
            refusal = str(list(answers.values())[-1])
            assert refusal[:3] in outcome.detail
            assert outcome.quote == refusal[4:]

    run(main)


LOST: dict[str, tuple[dict[str, str | list[str]], Reason, bool]] = {
    "closed at the door": ({"greeting": CLOSE}, Reason.UNREACHABLE, False),
    "no SMTP": ({"greeting": "SSH-2.0-OpenSSH_9.2"}, Reason.UNREACHABLE, False),
    "closed at MAIL": ({"MAIL": CLOSE}, Reason.UNREACHABLE, False),
    "closed at DATA": ({"DATA": CLOSE}, Reason.UNREACHABLE, False),
    "garbage at RCPT": ({"RCPT": "ok"}, Reason.UNREACHABLE, False),
    "silent at the door": ({"greeting": SILENCE}, Reason.TIMEOUT, False),
    "silent at RCPT": ({"RCPT": SILENCE}, Reason.TIMEOUT, False),
    "cut off at MAIL": ({"MAIL": CUT}, Reason.UNREACHABLE, False),
    "drips at EHLO": ({"EHLO": DRIP}, Reason.TIMEOUT, False),
    "trickles at the door": ({"greeting": TRICKLE}, Reason.TIMEOUT, False),
    "closed after the content": ({"content": CLOSE}, Reason.UNREACHABLE, True),
    "garbage after the content": ({"content": "thanks"}, Reason.UNREACHABLE, True),
    "silent after the content": ({"content": SILENCE}, Reason.TIMEOUT, True),
    "cut off after the content": ({"content": CUT}, Reason.UNREACHABLE, True),
    "drips after the content": ({"content": DRIP}, Reason.TIMEOUT, True),
    "trickles after the content": ({"content": TRICKLE}, Reason.TIMEOUT, True),
}


@pytest.mark.parametrize("name", LOST)
@pytest.mark.parametrize("limit", ["deadline", "timeout"])
def test_no_answer(name: str, limit: str) -> None:
    """Before the content a lost or silent server is unsent, after it unknown; deadline and time limit hold."""
    answers, reason, handed_over = LOST[name]
    limit_ms = 600 if reason is Reason.TIMEOUT else 20_000

    async def main() -> None:
        server = Scripted(dict(answers))
        async with server.serve():
            provider = made(at(server.port, timeout=f"{limit_ms}ms" if limit == "timeout" else "20s"))
            began = time.monotonic()
            with pytest.raises(SubmitError) as caught:
                await send(provider, deadline_s=20 if limit == "timeout" else limit_ms / 1000)
            assert time.monotonic() - began < 5
            await provider.close()
        assert (caught.value.reason, caught.value.handed_over) == (reason, handed_over)
        assert len(server.contents) == handed_over

    run(main)


@pytest.mark.parametrize("answer", ["250-" + "x" * 70_000, "\r\n".join(["250-x"] * 12_000)], ids=["line", "lines"])
def test_an_answer_without_end(answer: str) -> None:
    """A server that sends without end is cut off after 64 KiB."""

    async def main() -> None:
        server = Scripted({"EHLO": answer})
        async with server.serve():
            provider = made(at(server.port))
            with pytest.raises(SubmitError) as caught:
                await send(provider)
            await provider.close()
        assert caught.value.reason is Reason.UNREACHABLE
        assert "no end" in caught.value.detail

    run(main)


def test_nobody_there(unused_port: int) -> None:
    """A refused connection and a name that does not exist are unsent/unreachable; what cannot be a name, config."""

    async def main() -> None:
        for server in (at(unused_port), at(25, host="mail.invalid")):
            provider = made(server)
            with pytest.raises(SubmitError) as caught:
                await send(provider)
            await provider.close()
            assert (caught.value.reason, caught.value.handed_over, caught.value.retryable) == (
                Reason.UNREACHABLE,
                False,
                True,
            )
        provider = made(at(25, host="mail..example"))
        with pytest.raises(SubmitError) as caught:
            await send(provider)
        await provider.close()
        assert (caught.value.reason, caught.value.handed_over, caught.value.retryable) == (Reason.CONFIG, False, False)

    run(main)


@pytest.fixture
def unused_port() -> int:
    async def main() -> int:
        async with mail_server(Mailbox()) as port:
            return port

    return asyncio.run(main())


def test_ipv6() -> None:
    """An IPv6 address is a host like any other."""

    async def main() -> None:
        mailbox = Mailbox()
        async with mail_server(mailbox, host="::1") as port:
            provider = made(at(port, host="::1"))
            assert (await send(provider)).kind is Kind.ACCEPTED
            assert provider.describe(provider.render(message()))["server"] == f"[::1]:{port}"
            await provider.close()
        assert len(mailbox.envelopes) == 1

    run(main)


@pytest.mark.parametrize("refusal", ["550 5.1.1 no", "450 4.2.0 later"])
@pytest.mark.parametrize("refused", [f"{PHONE}@a.example", "desk@b.example"])
def test_one_refused_recipient_refuses_the_mail(refused: str, refusal: str) -> None:
    """When one recipient is refused the mail goes to none, the outcome is that refusal's, and the session goes on."""

    async def main() -> None:
        mailbox = Mailbox(refused={refused: refusal})
        async with mail_server(mailbox) as port:
            provider = made(at(port), mail_to=["{{ phone }}@a.example", "desk@b.example"])
            outcome = await send(provider)
            assert outcome.kind is (Kind.REJECTED if refusal.startswith("5") else Kind.UNSENT)
            assert not mailbox.envelopes
            mailbox.refused.clear()
            assert (await send(provider)).kind is Kind.ACCEPTED
            await provider.close()
        assert mailbox.envelopes[0].rcpt_tos == [f"{PHONE}@a.example", "desk@b.example"]

    run(main)


def test_a_transaction_that_does_not_end_costs_nobody_a_mail() -> None:
    """A session whose refused mail cannot be taken back is replaced, before the next mail is handed over."""

    async def main() -> None:
        server = Scripted({"RCPT": ["550 5.1.1 no"], "RSET": "500 what"})
        async with server.serve():
            provider = made(at(server.port))
            assert (await send(provider)).kind is Kind.REJECTED
            assert (await send(provider)).kind is Kind.ACCEPTED
            await provider.close()
        assert [said[-1] for said in server.commands] == ["RSET", "QUIT"]
        assert len(server.contents) == 1

    run(main)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("2.0.0 Ok: queued as 3FA2B1C0D1", ("3FA2B1C0D1",)),
        ("OK id=1rTzGv-0005Xk-2B", ("1rTzGv-0005Xk-2B",)),
        ("2.0.0 4AM7lq1h012345 Message accepted for delivery", ("4AM7lq1h012345",)),
        ("OK", ("our-id@example.com",)),
        ("", ("our-id@example.com",)),
    ],
)
def test_message_ids(text: str, ids: tuple[str, ...]) -> None:
    """The server's queue id where it is recognised, else our Message-ID."""
    outcome = made(at(25)).interpret(SmtpReply(250, text, message_id="our-id@example.com"))
    assert outcome.message_ids == ids


# Sessions


def test_sessions_are_kept() -> None:
    """One mail after another goes over one session; many at once share eight."""

    async def main() -> None:
        server = Scripted({})
        async with server.serve():
            provider = made(at(server.port))
            for _ in range(3):
                assert (await send(provider)).kind is Kind.ACCEPTED
            assert len(server.commands) == 1
            outcomes = await asyncio.gather(*(send(provider) for _ in range(40)))
            assert {outcome.kind for outcome in outcomes} == {Kind.ACCEPTED}
            assert len(server.commands) <= smtp.MAX_SESSIONS
            assert len(server.contents) == 43
            await provider.close()
        assert all(said[-1] == "QUIT" for said in server.commands)

    run(main)


@pytest.mark.parametrize("farewell", [CLOSE, "421 idle too long"])
def test_a_session_that_ended_is_replaced(farewell: str) -> None:
    """A rested session that the server ends at the next mail is replaced, and the mail is sent once."""

    async def main() -> None:
        server = Scripted({"MAIL": ["250 fine", farewell]})
        async with server.serve():
            provider = made(at(server.port))
            assert (await send(provider)).kind is Kind.ACCEPTED
            assert (await send(provider)).kind is Kind.ACCEPTED
            await provider.close()
        assert len(server.commands) == 2
        assert len(server.contents) == 2

    run(main)


def test_a_session_closed_at_rest_is_seen() -> None:
    """A session that the server closed while it rested is found out before a mail goes over it."""

    async def main() -> None:
        server = Scripted({})
        async with server.serve():
            provider = made(at(server.port))
            assert (await send(provider)).kind is Kind.ACCEPTED
            for writer in server.writers:
                writer.write(b"421 idle too long\r\n")
                writer.close()
                await writer.wait_closed()
            assert (await send(provider)).kind is Kind.ACCEPTED
            await provider.close()
        assert [len([line for line in said if line.startswith("MAIL")]) for said in server.commands] == [1, 1]

    run(main)


def test_a_session_that_dies_with_the_mail_is_not_replaced() -> None:
    """A kept session lost after the content is unknown: the mail is not sent again."""

    async def main() -> None:
        server = Scripted({"content": ["250 ok", CLOSE]})
        async with server.serve():
            provider = made(at(server.port))
            assert (await send(provider)).kind is Kind.ACCEPTED
            with pytest.raises(SubmitError) as caught:
                await send(provider)
            assert caught.value.handed_over
            await provider.close()
        assert len(server.contents) == 2

    run(main)


def test_no_turn_before_the_deadline() -> None:
    """A send that finds all sessions busy until its deadline is unsent/timeout."""

    async def main() -> None:
        server = Scripted({"MAIL": SILENCE})
        async with server.serve():
            provider = made(at(server.port))
            stuck = [asyncio.create_task(send(provider, deadline_s=1.0)) for _ in range(smtp.MAX_SESSIONS)]
            await asyncio.sleep(0)  # they take their turns first
            with pytest.raises(SubmitError) as caught:
                await send(provider, deadline_s=0.2)
            assert (caught.value.reason, caught.value.handed_over) == (Reason.TIMEOUT, False)
            results = await asyncio.gather(*stuck, return_exceptions=True)
            assert all(isinstance(result, SubmitError) for result in results)
            await provider.close()

    run(main)


# Building


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # that is what is tested
def test_a_server_of_the_site() -> None:
    """A name takes its server from smsgwd.yaml, with the password that stands there."""

    async def main() -> None:
        mailbox = Mailbox()
        async with mail_server(mailbox, **LOGIN_IN_THE_CLEAR) as port:
            corp = at(port, username="sms", password="{{ secrets.mail }}")
            site = Site(smtp_servers={"corp": corp}, secrets={"mail": Secret("s3cret ü")})
            provider = made("corp", site=site)
            assert (await send(provider)).kind is Kind.ACCEPTED
            await provider.close()

    run(main)


def test_findings() -> None:
    """What is wrong with a server, an address or a header is found when the gateway is built, at its place."""
    site = Site(smtp_servers={"corp": at(25)})
    assert findings("crop", site=site) == [("unknown-smtp-server", "/settings/server")]
    site = Site(smtp_servers={"corp": at(25, password="{{ secrets.mail }}")}, secrets={"mail": MASKED})
    assert findings("corp", site=site) == [("missing-secret", "/settings/server")]
    assert findings(at(25, **{"from": "ACME <a@b>"})) == [("bad-address", "/settings/server/from")]
    assert findings(at(25), mail_to=["a@b", "x"]) == [("bad-address", "/settings/mail_to/1")]
    assert findings(at(25), headers={"Subject": "x"}) == [("reserved-header", "/settings/headers/Subject")]
    assert findings(at(25), headers={"Content-Type": "x"}) == [("reserved-header", "/settings/headers/Content-Type")]
    assert findings(at(25), headers={"X-A": "x", "x-a": "y"}) == [("duplicate-header", "/settings/headers/x-a")]
    assert findings(at(25, ca_file="none.pem")) == [("bad-file", "/settings/server/ca_file")]
    assert findings(at(25, username="{{ phone }}", password="{{ secrets.mail }}")) == [
        ("not-constant", "/settings/server/username")
    ]


def test_a_password_in_the_clear_is_a_warning() -> None:
    """A login without TLS on another machine is a warning; on this machine it is fine."""
    server = at(25, host="mail.example.com", **LOGIN)
    _, problems = built(smtp.build, {"server": server, "mail_to": "a@b.c"}, secrets=SECRETS)
    assert [(each.code, each.severity) for each in problems] == [("clear-password", Severity.WARNING)]


@pytest.mark.parametrize(
    ("entry", "server"),
    [
        ({}, "mail.example.com:25"),
        (LOGIN, "mail.example.com:587"),
        ({"tls": "starttls"}, "mail.example.com:25"),
        ({"tls": "tls", **LOGIN}, "mail.example.com:465"),
        ({"tls": "tls"}, "mail.example.com:465"),
        ({"tls": "none"}, "mail.example.com:25"),
        ({"tls": "tls", "port": 4465}, "mail.example.com:4465"),
    ],
)
def test_ports(entry: dict[str, str], server: str) -> None:
    """The port follows from TLS and from there being a login, as TLS does where it is not given."""
    provider = made({"host": "mail.example.com", "from": "a@b.c", **entry})
    assert provider.describe(provider.render(message()))["server"] == server


def test_a_mail_tried_again_is_the_same_mail() -> None:
    """The identity of a mail is given when it is rendered: a second try carries the same Message-ID."""

    async def main() -> None:
        server = Scripted({"content": ["451 later", "250 ok"]})
        async with server.serve():
            provider = made(at(server.port))
            prepared = provider.render(message())
            assert provider.interpret(await provider.submit(prepared, Deadline.after(20))).kind is Kind.UNSENT
            assert provider.interpret(await provider.submit(prepared, Deadline.after(20))).kind is Kind.ACCEPTED
            await provider.close()
        first, second = (received(content)["Message-ID"] for content in server.contents)
        assert first == second

    run(main)
