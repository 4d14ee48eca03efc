"""What Prometheus sees. A label holds a name of the configuration or a word of ours, never what a caller wrote."""

import re
from collections import Counter as Tally
from collections.abc import Callable, Collection, Iterator
from typing import Protocol

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from smsgwd.limits import Limiter
from smsgwd.outcome import Outcome
from smsgwd.registry import Registry, State

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST
_GATEWAY_LABEL = re.compile(rb'[{,]gateway="([^"]*)"')  # names hold nothing that would be escaped
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

# Otherwise each counter has a second series that nobody asked for.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call] # their function carries no types


class Configuration(Protocol):
    """What is served, and how its last reload went."""

    @property
    def registry(self) -> Registry:
        """The present snapshot."""

    @property
    def healthy(self) -> bool:
        """Whether no file is stale or rejected."""

    @property
    def last_success_at(self) -> float:
        """When a reload last found all well, in seconds of Unix time."""


class Metrics:
    """Counts outcomes, and shows how the configuration stands."""

    def __init__(self, configuration: Configuration, limiter: Limiter) -> None:
        self._registry = CollectorRegistry(auto_describe=True)
        self._messages = Counter(
            "smsgwd_messages", "Sends that ended.", ["gateway", "outcome", "reason"], registry=self._registry
        )
        self._attempts = Counter(
            "smsgwd_attempts",
            "Each time that a gateway was tried: by itself, once more, or as a member of a failover.",
            ["gateway", "outcome", "reason"],
            registry=self._registry,
        )
        self._segments = Counter(
            "smsgwd_segments", "Segments of accepted messages.", ["gateway", "encoding"], registry=self._registry
        )
        self._refused = Counter(
            "smsgwd_requests_refused",
            "Requests that were refused before they became a message.",
            ["code"],
            registry=self._registry,
        )
        self._verifications = Counter(
            "smsgwd_otp_verifications",
            "One-time passwords that came back: verified, or why not; unavailable while the storage was lost.",
            ["result"],
            registry=self._registry,
        )
        self._storage_up = Gauge(
            "smsgwd_otp_storage_up", "Whether the storage of one-time passwords answers.", registry=self._registry
        )
        self._storage_up.set(1)
        self._duration = Histogram(
            "smsgwd_send_duration_seconds",
            "How long sends took, all attempts included.",
            ["gateway"],
            registry=self._registry,
            buckets=_BUCKETS_S,
        )
        self._registry.register(_Standing(configuration, limiter))
        ProcessCollector(registry=self._registry)

    def observe(self, outcome: Outcome) -> None:
        """Count one outcome. Its gateway is one of the configuration: unknown ones have no outcome."""
        self._messages.labels(outcome.gateway, str(outcome.kind), str(outcome.reason or "")).inc()
        for one in outcome.tries:
            self._attempts.labels(one.gateway, str(one.kind), str(one.reason or "")).inc()
        self._duration.labels(outcome.gateway).observe(outcome.elapsed_s)
        if outcome.kind == "accepted":
            self._segments.labels(outcome.gateway, outcome.encoding).inc(outcome.segments)

    def refused(self, code: str) -> None:
        """Count a request that was refused, by the code of its problem."""
        self._refused.labels(code).inc()

    def verification(self, result: str) -> None:
        """Count a one-time password that came back; `result` is a word of ours."""
        self._verifications.labels(result).inc()

    def show_storage(self, up: Callable[[], bool]) -> None:
        """Ask at each scrape whether the storage of one-time passwords answers."""
        self._storage_up.set_function(up)

    def exposition(self, gateways: Collection[str] | None = None) -> bytes:
        """All of it in Prometheus' text format (`CONTENT_TYPE`), or without the series of other gateways than these."""
        whole = generate_latest(self._registry)
        if gateways is None:
            return whole
        return b"".join(line for line in whole.splitlines(keepends=True) if _is_of(line, gateways))


def _is_of(line: bytes, gateways: Collection[str]) -> bool:
    found = _GATEWAY_LABEL.search(line)
    return found is None or found[1].decode() in gateways


class _Standing(Collector):
    """How the configuration stands now; asked for at each scrape, so nothing has to be kept in step."""

    def __init__(self, configuration: Configuration, limiter: Limiter) -> None:
        self._configuration = configuration
        self._limiter = limiter

    def collect(self) -> Iterator[Metric]:
        registry = self._configuration.registry
        yield GaugeMetricFamily(
            "smsgwd_config_last_reload_successful",
            "0 while any file is stale or rejected.",
            value=int(self._configuration.healthy),
        )
        yield GaugeMetricFamily(
            "smsgwd_config_last_reload_success_timestamp_seconds",
            "When a reload last found all well.",
            value=self._configuration.last_success_at,
        )
        info = GaugeMetricFamily("smsgwd_config_info", "The configuration that serves.", labels=["digest"])
        info.add_metric([registry.digest], 1)
        yield info
        yield from (
            _states(registry),
            _tokens(registry),
            _in_flight(registry),
            _binds(registry),
            _limited(self._limiter),
        )


def _states(registry: Registry) -> Metric:
    family = GaugeMetricFamily(
        "smsgwd_gateway_state", "1 for the state that a gateway is in.", labels=["gateway", "state"]
    )
    for entry in registry.entries.values():
        for state in State:
            family.add_metric([entry.name, str(state)], int(entry.state is state))
    return family


def _tokens(registry: Registry) -> Metric:
    family = GaugeMetricFamily(
        "smsgwd_tokens", "Token files of tokens.d, by the state that they are in.", labels=["state"]
    )
    for state, number in registry.token_counts().items():
        family.add_metric([state], number)
    return family


def _in_flight(registry: Registry) -> Metric:
    family = GaugeMetricFamily("smsgwd_in_flight", "Sends that run on the present version.", labels=["gateway"])
    for entry in registry.entries.values():
        if entry.gateway is not None:
            family.add_metric([entry.name], entry.gateway.usage.in_flight)
    return family


def _binds(registry: Registry) -> Metric:
    family = GaugeMetricFamily("smsgwd_smpp_binds", "SMPP sessions by state.", labels=["gateway", "state"])
    for entry in registry.entries.values():
        binds = entry.gateway.status().get("binds", []) if entry.gateway is not None else []
        for state, number in sorted(Tally(bind["state"] for bind in binds).items()):
            family.add_metric([entry.name, state], number)
    return family


def _limited(limiter: Limiter) -> Metric:
    family = CounterMetricFamily("smsgwd_limited", "Messages that a limit refused.", labels=["gateway", "limit"])
    for names, number in sorted(limiter.refused.items()):
        family.add_metric(names, number)
    return family
