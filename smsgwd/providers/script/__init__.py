"""`script`: a program of the administrator's. It gets the number as last argument and the message on standard input.

Its exit code says what became of the message: 0 taken, 75 (EX_TEMPFAIL of sysexits.h) not now, all else refused.
"""

import asyncio
import errno
import logging
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

from smsgwd.errors import MessageError, Severity, SubmitError
from smsgwd.message import Message
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers._base import Bench, KeyPath, Prepared, Provider
from smsgwd.providers.script.process import GRACE_S, Output, end_of, start
from smsgwd.providers.script.program import Program
from smsgwd.templates import Template
from smsgwd.units import Deadline, parse_duration

log = logging.getLogger("smsgwd.script")

MAX_RUNNING = 32  # scripts of one gateway at once; further sends wait for their turn inside their deadline
EX_TEMPFAIL = 75  # sysexits.h: "the user is invited to retry"

_TIMEOUTS = {"wait": "30s", "background": "10m"}
_PASSING = {  # faults of a start that pass: the machine is full, or a deployment is just writing the file
    errno.EAGAIN,
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ETXTBSY,
}


@dataclass(frozen=True, slots=True)
class Call(Prepared):
    """One call of the script; `text` is its standard input."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ScriptReply:
    """How a script ended: `exit` is negative for a signal, None for one that runs on in the background."""

    exit: int | None
    stdout: str = ""  # what it printed, standard error too, as far as it was kept

    def as_dict(self) -> dict[str, Any]:
        """The answer, for the debug log."""
        return {"exit": self.exit, "stdout": self.stdout}


@dataclass(frozen=True, slots=True)
class Rules:
    """How a script is run; `timeout_s` is in seconds."""

    background: bool
    timeout_s: float


class ScriptProvider(Provider[Call, ScriptReply]):
    """Runs one program for each message."""

    depends: ClassVar[tuple[str, ...]] = ("scripts_directory",)

    def __init__(
        self, name: str, program: Program, command: Sequence[Template], env: Mapping[str, Template], rules: Rules
    ) -> None:
        self._name = name
        self._program = program
        self._command = command
        self._env = env
        self._rules = rules
        self._turns = asyncio.Semaphore(MAX_RUNNING)
        self._starters = ThreadPoolExecutor(MAX_RUNNING, "script")  # a start may hang, on a file system that is gone
        self._running: set[asyncio.Task[None]] = set()

    def render(self, message: Message) -> Call:
        """Raises MessageError for what an argument cannot hold, and for what would turn one into an option."""
        names = message.names()
        argv = tuple(_argument(template, names) for template in self._command)
        if message.phone.startswith("-"):
            raise MessageError(Reason.INVALID_DESTINATION, f"the number {_AN_OPTION}")
        env = {key: template.render(names) for key, template in self._env.items()}
        _check_octets(message.text)
        for text in (*argv, message.phone, *env.values()):
            _check_octets(text, forbidden="\0")
        return Call(text=message.text, argv=(*argv, message.phone), env=env)

    def describe(self, prepared: Call) -> dict[str, Any]:
        """`{argv, stdin}`; `argv[0]` as the settings name the file."""
        return {"argv": list(prepared.argv), "stdin": prepared.text}

    async def submit(self, prepared: Call, deadline: Deadline) -> ScriptReply:
        """Run the script; wait for its end, or in the background for its start alone."""
        await self._turn(deadline.to_leave)
        reply: asyncio.Future[ScriptReply] = asyncio.get_running_loop().create_future()
        answer_by = deadline.earlier(self._rules.timeout_s)
        stop_at = Deadline.after(self._rules.timeout_s) if self._rules.background else answer_by
        task = asyncio.create_task(self._run(prepared, stop_at, reply))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            async with asyncio.timeout(answer_by.remaining()):
                return await reply
        except TimeoutError:
            raise SubmitError(Reason.TIMEOUT, "the script was over time and is ended", handed_over=True) from None

    def reply_of(self, prepared: Call, told: Mapping[str, Any]) -> ScriptReply:  # noqa: ARG002 - ends alike for all
        """The script's end; in the background it is not waited for."""
        return ScriptReply(None if self._rules.background else told["exit"], told.get("stdout", ""))

    def interpret(self, reply: ScriptReply) -> Outcome:
        """0 and a start in the background are accepted, 75 is unsent, a signal unknown, all else rejected."""
        if reply.exit is None or reply.exit == 0:
            return Outcome(Kind.ACCEPTED)
        detail = f"the script ended with code {reply.exit}"
        if reply.exit == EX_TEMPFAIL:
            return Outcome(Kind.UNSENT, Reason.THROTTLED, detail=detail, quote=reply.stdout)
        if reply.exit < 0:  # nobody knows how far it had come
            detail = f"the script was ended by signal {-reply.exit}"
            return Outcome(Kind.UNKNOWN, Reason.PROVIDER, detail=detail, quote=reply.stdout)
        return Outcome(Kind.REJECTED, Reason.PROVIDER, detail=detail, quote=reply.stdout)

    def status(self) -> dict[str, Any]:
        """How many scripts run now."""
        return {"running": len(self._running)}

    async def close(self) -> None:
        """Scripts in the background go on; of the others those that were over time are seen to their end."""
        self._starters.shutdown(wait=False)
        if self._running and not self._rules.background:
            await asyncio.wait(self._running, timeout=2 * GRACE_S)

    async def _turn(self, deadline: Deadline) -> None:
        try:
            async with asyncio.timeout(deadline.remaining()):
                await self._turns.acquire()
        except TimeoutError:
            detail = f"{MAX_RUNNING} scripts were running until the deadline"
            raise SubmitError(Reason.TIMEOUT, detail, handed_over=False) from None

    async def _run(self, call: Call, stop_at: Deadline, reply: asyncio.Future[ScriptReply]) -> None:
        """See a script from its start to its end, also when nobody waits for its answer any more."""
        watch = self._in_background if self._rules.background else self._in_foreground
        try:
            await watch(call, stop_at, reply)
        except Exception as error:
            if reply.done():
                raise
            reply.set_exception(error)
        finally:
            self._turns.release()

    async def _in_foreground(self, call: Call, stop_at: Deadline, reply: asyncio.Future[ScriptReply]) -> None:
        with Output() as output:
            code = await end_of(await self._start(call, output.descriptor), stop_at)
            if code is not None and not reply.done():
                reply.set_result(ScriptReply(code, output.text()))

    async def _in_background(self, call: Call, stop_at: Deadline, reply: asyncio.Future[ScriptReply]) -> None:
        process = await self._start(call, subprocess.DEVNULL)
        if not reply.done():
            reply.set_result(ScriptReply(None))
        code = await end_of(process, stop_at)
        told = "over time and ended" if code is None else f"ended with code {code}"
        level = logging.INFO if code == 0 else logging.WARNING
        log.log(level, "background script %s", told, extra={"gateway": self._name})

    async def _start(self, call: Call, output: int) -> subprocess.Popen[bytes]:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._starters, self._launch, call, output)
        except OSError as error:
            passing = error.errno in _PASSING
            detail = f"the script cannot be started: {error.strerror}"
            raise SubmitError(
                Reason.UNREACHABLE if passing else Reason.CONFIG, detail, handed_over=False, retryable=passing
            ) from error

    def _launch(self, call: Call, output: int) -> subprocess.Popen[bytes]:
        fault = self._program.fault()
        if fault is not None:
            raise SubmitError(Reason.CONFIG, f"the script is not run: {fault}", handed_over=False, retryable=False)
        program = self._program
        return start(program.path, call.argv, call.env, stdin=call.text.encode(), output=output, folder=program.folder)


_AN_OPTION = "begins with a dash: the script would read it as an option"


def _argument(template: Template, names: Mapping[str, str]) -> str:
    """Raises MessageError where the message would make an option of an argument that was written as none."""
    text = template.render(names)
    if text.startswith("-") and not template.constant and not template.source.startswith("-"):
        raise MessageError(Reason.CONTENT, f"an argument {_AN_OPTION}")
    return text


def _check_octets(text: str, forbidden: str = "") -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise MessageError(Reason.CONTENT, "the text holds half a character (a lone surrogate)") from None
    if forbidden and forbidden in text:
        raise MessageError(Reason.CONTENT, "an argument cannot hold the character U+0000")


def build(settings: Mapping[str, Any], bench: Bench) -> ScriptProvider:
    """The provider of a gateway file's settings."""
    command: Sequence[str] = settings["command"]
    templates = [bench.template(text, ("settings", "command", index)) for index, text in enumerate(command)]
    env = {key: bench.template(text, ("settings", "env", key)) for key, text in settings.get("env", {}).items()}
    _warn_of_secrets(templates, bench)
    mode = settings.get("mode", "wait")
    rules = Rules(mode == "background", _timeout_s(settings.get("timeout", _TIMEOUTS[mode]), bench))
    return ScriptProvider(bench.name, _program(templates[0], bench), templates, env, rules)


def _program(template: Template, bench: Bench) -> Program:
    at: KeyPath = ("settings", "command", 0)
    folder = bench.site.scripts_directory or bench.site.directory / "scripts"
    program = Program.named(template.source, folder)
    if template.uses:
        bench.problem(at, "bad-script", "the program itself cannot be a template", "arguments after it can")
    elif program is None:
        bench.problem(at, "bad-script", "the program is not inside the script folder", f"name a file of {folder}")
    elif bench.resolved:
        bench.path(str(program.path))
        fault = program.fault()
        if fault is not None:
            bench.problem(at, "bad-script", f"the script would not be run: {fault}")
    return program or Program(folder, folder)


def _warn_of_secrets(command: Sequence[Template], bench: Bench) -> None:
    for index, template in enumerate(command):
        if any(name.startswith("secrets.") for name in template.uses):
            bench.problem(
                ("settings", "command", index),
                "secret-in-arguments",
                "every user of the machine can see the arguments of a process",
                "hand the secret over in `env`",
                severity=Severity.WARNING,
            )


def _timeout_s(text: str, bench: Bench) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        bench.problem(("settings", "timeout"), "bad-duration", f"not a duration: {error}")
        return 1.0
