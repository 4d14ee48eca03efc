"""Builds one provider from its settings on the real bench, without a whole gateway around it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from smsgwd.compile import Draft
from smsgwd.errors import Problem
from smsgwd.load import load
from smsgwd.message import Message, Recipient
from smsgwd.providers._base import Bench, Site
from smsgwd.secret import MASKED, Secret

T = TypeVar("T")


def built(
    build: Callable[[Mapping[str, Any], Bench], T],
    settings: Mapping[str, Any],
    *,
    site: Site | None = None,
    secrets: Mapping[str, str] | None = None,
    resolved: bool = True,
) -> tuple[T, list[Problem]]:
    """The provider and the findings. `secrets` are values; with `resolved` False each is `***`, as in a plain check."""
    source = load(json.dumps({"settings": settings}).encode(), "gateways.d/it.yaml")
    draft = Draft("it", source, site or Site(Path("/nowhere")), resolved=resolved)
    draft.secrets = {name: Secret(value) if resolved else MASKED for name, value in (secrets or {}).items()}
    provider = build(settings, draft)
    return provider, draft.problems


def message(text: str = "Your code is 4711", phone: str = "+491701234567", **more: Any) -> Message:
    """A message to one number."""
    return Message(to=Recipient(phone=phone, e164=phone, written=phone), text=text, **more)
