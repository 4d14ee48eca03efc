"""HTTP for the providers that speak it: one seam (`wire`), two engines behind it."""

from importlib.util import find_spec

from smsgwd.providers._http.wire import Endpoint, Engine


def available(choice: str) -> bool:
    """Whether that engine is installed (httptools comes with `smsgwd[fast]`)."""
    return choice != "httptools" or find_spec("httptools") is not None


def make_engine(endpoint: Endpoint, choice: str = "auto") -> Engine:
    """An engine for the endpoint: `requests`, `httptools`, or `auto` (httptools where it is installed).

    Raises ModuleNotFoundError when the one asked for is not installed. Nothing is connected yet.
    """
    if choice == "httptools" or (choice == "auto" and available("httptools")):
        from smsgwd.providers._http.engine_llhttp import LlhttpEngine  # noqa: PLC0415 - an optional library

        return LlhttpEngine(endpoint)
    from smsgwd.providers._http.engine_requests import RequestsEngine  # noqa: PLC0415 - 0.2 s that `check` need not spend

    return RequestsEngine(endpoint)
