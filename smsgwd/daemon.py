"""The daemon: configuration, socket, signals and the service manager, put together."""

import asyncio
import logging
import resource
import signal
import socket
import sys
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any

from aiohttp import web

from smsgwd import __version__, logs
from smsgwd.certificates import Certificate
from smsgwd.errors import ConfigError
from smsgwd.idempotency import Idempotency
from smsgwd.limits import Limiter
from smsgwd.metrics import Metrics
from smsgwd.registry import Registry, SiteConfig, State
from smsgwd.reload import Reloader, ReloadResult
from smsgwd.server.access import look_up
from smsgwd.server.api import Api
from smsgwd.server.connection import Doors, Limits
from smsgwd.server.listen import BACKLOG, Listener, ListenError, open_listener
from smsgwd.server.sends import Sends
from smsgwd.server.services import Services
from smsgwd.server.tcp import named, open_tcp
from smsgwd.socket_path import default_path, socket_path
from smsgwd.systemd import InheritedSocketError, Notifier, inherited_sockets
from smsgwd.writing import clear_up

log = logging.getLogger("smsgwd.daemon")

EX_OK, EX_FAILED, EX_CONFIG = 0, 1, 78  # 78: sysexits.h
_OPEN_FILES = 65_536
_GRACE_S = 0.1  # what clients wrote before we stopped is still read
_LAST_ANSWERS_S = 5.0  # for answers on their way when the last send has ended


def run(config: Path, *, state: Path | None = None, socket: str | None = None) -> int:
    """Serve until a signal says stop; returns the exit code of `smsgwd serve`.

    0 after SIGTERM or SIGINT, 78 for a smsgwd.yaml that cannot be served, 1 for a socket that cannot be had.
    """
    logs.catch_unforeseen()
    logs.hold()
    try:
        asyncio.run(_run(config, state, socket))
    except ConfigError as error:
        return _fail(EX_CONFIG, (f"{problem}{_hint(problem.hint)}" for problem in error.problems))
    except (ListenError, InheritedSocketError) as error:
        return _fail(EX_FAILED, [f"smsgwd: {error}"])
    return EX_OK


def _fail(code: int, lines: Iterable[str]) -> int:
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    return code


def _hint(hint: str) -> str:
    return f" ({hint})" if hint else ""


async def _run(config: Path, state: Path | None, socket: str | None) -> None:
    loop = asyncio.get_running_loop()
    logs.catch_unforeseen_in(loop)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)  # too early to mean anything; by default it would end us
    await asyncio.to_thread(clear_up, config)
    reloader = Reloader(config, state=state)
    try:
        await reloader.load()
    finally:
        logs.set_up(reloader.registry.config.log)  # also for what is said when there is nothing to serve
    try:
        await Daemon(reloader, _listeners(config, reloader.registry, socket), Notifier.from_environment()).serve()
    finally:
        await reloader.close()


def _listeners(config: Path, registry: Registry, option: str | None) -> list[Listener]:
    """The sockets that we were given, and those that we open: the Unix socket and those of `listen`, if not given."""
    listeners = [named(one, registry.config.listen) for one in inherited_sockets()]
    _warn_of_nameless(listeners)
    if not any(one.local for one in listeners):
        listeners.append(_unix_listener(config, registry, option))
    elif option:
        log.warning("the inherited sockets are served; --socket is not used")
    try:
        given = {one.name for one in listeners}
        for settings in registry.config.listen:
            listeners += open_tcp(settings) if settings.address not in given else []
    except ListenError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _warn_of_nameless(inherited: Iterable[Listener]) -> None:
    for one in inherited:
        if not one.local and not one.name:
            host, port = one.socket.getsockname()[:2]
            message = "`listen` does not name the inherited socket %s port %d: a token is needed there, without TLS"
            log.warning(message, host, port)


def _unix_listener(config: Path, registry: Registry, option: str | None) -> Listener:
    settings = registry.config.socket
    configured = None if settings.path is None else str(config / settings.path)
    path = socket_path(option, configured)
    return open_listener(Path(path), settings, make_parent=path == default_path())


def _unix_paths(listeners: Iterable[Listener]) -> str:
    """Where callers come from that have no address."""
    sockets = (listener.socket for listener in listeners)
    return ", ".join(str(one.getsockname()) for one in sockets if one.family == socket.AF_UNIX)


class Daemon:
    """What serves between start and stop."""

    def __init__(self, reloader: Reloader, listeners: list[Listener], notifier: Notifier) -> None:
        limits = Limits()
        self._reloader = reloader
        self._listeners = listeners
        self._notifier = notifier
        limiter = Limiter()
        self._metrics = Metrics(reloader, limiter)
        self._sends = Sends(reloader, self._metrics, Idempotency(), limiter, limits.in_flight)
        self._services = Services(reloader, self._sends, self._metrics, self.reload)
        self._services.audit.socket = _unix_paths(listeners)
        self._api = Api(self._services)
        self._doors = Doors(self._api.serve, limits)
        self._runner = web.ServerRunner(self._doors, shutdown_timeout=_LAST_ANSWERS_S)
        self._servers: list[asyncio.Server] = []
        self._at_start = reloader.registry.config
        self._log_settings = self._at_start.log
        self._states_before = self._states()
        self._applying = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()

    async def serve(self) -> None:
        """Serve until a signal asks to stop, then let the sends that run finish."""
        self._catch_signals()
        _raise_open_files()
        try:
            await self._apply()
            self._reloader.subscribe(self._reloaded)
            await self._listen()
            self._begin(self._follow())
            self._begin(self._stay_alive())
            self._notifier.ready(self._standing())
            log.info("serving", extra={"version": __version__, **self._summary()})
            await self._stop.wait()
        finally:
            await self._end()

    async def reload(self) -> ReloadResult:
        """Look at the configuration now; returns when the result serves, access rules included."""
        self._notifier.reloading()
        try:
            result = await self._reloader.reload()
            await self._apply()
        finally:
            self._notifier.ready(self._standing())
        return result

    async def _listen(self) -> None:
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        for one in self._listeners:
            entrance = self._doors.entrance(one.name, tls=one.tls)
            self._servers.append(await loop.create_server(entrance, sock=one.socket, backlog=BACKLOG))

    async def _end(self) -> None:
        self._notifier.stopping()
        self._api.draining = True
        for listener in self._listeners:
            listener.remove()  # first the name, so that whoever comes now hears that nobody is there
        await asyncio.sleep(_GRACE_S)
        for server in self._servers:
            server.close()
        self._doors.pre_shutdown()
        self._api.end_streams()  # their connections take nothing more by now
        await self._sends.drain()
        await self._runner.cleanup()
        await self._api.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        log.info("stopped")

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, lambda: self._begin(self._reload_by_signal()))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask_to_stop, number)

    def _ask_to_stop(self, number: signal.Signals) -> None:
        if self._stop.is_set():  # asked twice: now, and by the signal, so that whoever waits for us sees why
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._stop.set()

    async def _reload_by_signal(self) -> None:
        await self.reload()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("unforeseen failure", exc_info=task.exception())

    async def _follow(self) -> None:
        await self._reloader.watch()

    async def _stay_alive(self) -> None:
        """Tell the watchdog that the event loop turns, twice as often as it asks (sd_watchdog_enabled(3))."""
        while self._notifier.watchdog_s:
            self._notifier.alive()
            await asyncio.sleep(self._notifier.watchdog_s / 2)

    def _reloaded(self, result: ReloadResult) -> None:
        states, before = self._states(), self._states_before
        self._states_before = states
        named = {"added": result.added, "changed": result.changed, "removed": result.removed}
        for state in (State.STALE, State.REJECTED):
            named[str(state)] = tuple(name for name, now in states.items() if now is state is not before.get(name))
        told = {key: list(names) for key, names in named.items() if names}
        tokens = {f"tokens_{kind}": len(names) for kind, names in result.tokens.as_dict().items() if names}
        log.info("reload", extra={"generation": result.generation, **told, **tokens, **self._summary()})
        self._begin(self._apply())

    async def _apply(self) -> None:
        """Take over what smsgwd.yaml says of us. The names of its access rules are looked up beside the event loop."""
        async with self._applying:
            config = self._reloader.registry.config
            if config.log != self._log_settings:
                logs.set_up(config.log)
                self._log_settings = config.log
            self._services.access = await asyncio.to_thread(look_up, config.access, config.tokens, config.listen)
            self._doors.certificates = {**self._doors.certificates, **_certificates(config)}
            self._sends.follow()
            self._api.follow()
            for key, value in _fixed(config).items():
                if value != _fixed(self._at_start)[key]:
                    log.warning("`%s` of smsgwd.yaml has changed: that takes a restart", key)
            self._notifier.status(self._standing())

    def _states(self) -> dict[str, State]:
        return {name: entry.state for name, entry in self._reloader.registry.entries.items()}

    def _summary(self) -> dict[str, Any]:
        registry = self._reloader.registry
        tokens = {"tokens": registry.token_counts()} if registry.tokens else {}
        return {"digest": registry.digest, "gateways": registry.counts(), **tokens}

    def _standing(self) -> str:
        counts = self._reloader.registry.counts()
        return "gateways: " + (", ".join(f"{number} {state}" for state, number in counts.items() if number) or "none")


def _fixed(config: SiteConfig) -> dict[str, Any]:
    """What of smsgwd.yaml is settled at start."""
    return {"socket": config.socket, "listen": {(one.address, one.tls) for one in config.listen}}


def _certificates(config: SiteConfig) -> dict[str, Certificate]:
    """The certificates that can be used, by listener: where there is none, the former one stays."""
    return {one.address: one.certificate for one in config.listen if one.certificate is not None}


def _raise_open_files() -> None:
    """Each client is an open file; the usual soft limit of 1024 would be reached by waiting clients alone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
