"""Which way messages take through a failover, before and after."""

from collections.abc import Callable, Iterable, Iterator

from smsgwd.difference.change import Change, code, listed
from smsgwd.registry import Failover, Served

_Find = Callable[[str], Served | None]  # a gateway of one of the two configurations by its name
_Way = tuple[str, ...]
_ELSEWHERE = "elsewhere"


def changes(old: Failover, new: Failover, find_old: _Find, find_new: _Find) -> Iterator[Change]:
    """Where messages go by other ways: to the countries and prefixes that a route names, and to all others."""
    found: dict[tuple[_Way, _Way], list[str]] = {}
    for label, number in _destinations(old, new).items():
        ways = _way(old, number, find_old), _way(new, number, find_new)
        if ways[0] != ways[1]:
            found.setdefault(ways, []).append(label)
    for (before, after), labels in found.items():
        effect = f"{_sends(labels)} {_through(after)} (before: {_members(before)})"
        yield Change(new.name, "changed", effect, "/settings")


def _way(failover: Failover, number: str | None, find: _Find) -> _Way:
    """The members that can send, in order. Of a failover that is not switched on yet, all of them."""
    members = ((name, find(name)) for name in failover.choices(number))
    usable = (name for name, one in members if one is not None and (one.enabled or not failover.enabled))
    return tuple(dict.fromkeys(usable))


def _destinations(*versions: Failover) -> dict[str, str | None]:
    """A number for each country and prefix that a route names, by what it stands for; None stands for all others."""
    routes = [route for one in versions for route in one.routes]
    prefixes = sorted({route.prefix for route in routes if route.prefix})
    countries = sorted({country for route in routes for country in route.countries})
    found: dict[str, str | None] = {country: _number_in(country, prefixes) for country in countries}
    found |= {code(prefix): _number_with(prefix) for prefix in prefixes}
    return {**found, _ELSEWHERE: None}


def _number_in(country: str, prefixes: Iterable[str]) -> str | None:
    """A number of the country; better none that a longer prefix takes out of it."""
    numbers = list(_examples(country))
    calling = _calling_code(country)
    longer = tuple(prefix for prefix in prefixes if not calling.startswith(prefix))
    return next((number for number in numbers if not number.startswith(longer)), next(iter(numbers), None))


def _examples(country: str) -> Iterator[str]:
    import phonenumbers  # noqa: PLC0415 - its tables take a while to load: only for routes

    kinds = phonenumbers.PhoneNumberType
    for kind in (kinds.MOBILE, kinds.FIXED_LINE, kinds.FIXED_LINE_OR_MOBILE, kinds.VOIP):
        number = phonenumbers.example_number_for_type(country, kind)
        if number is not None:
            yield phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _calling_code(country: str) -> str:
    import phonenumbers  # noqa: PLC0415 - as above

    return f"+{phonenumbers.country_code_for_region(country)}"


def _number_with(prefix: str) -> str:
    """A number that begins so: an example of its country where there is one."""
    import phonenumbers  # noqa: PLC0415 - as above

    for length in (1, 2, 3):
        digits = prefix[1 : 1 + length]
        for region in phonenumbers.region_codes_for_country_code(int(digits)) if digits.isdigit() else ():
            found = next((number for number in _examples(region) if number.startswith(prefix)), None)
            if found is not None:
                return found
    return prefix.ljust(12, "0")


def _sends(labels: list[str]) -> str:
    named = [label for label in labels if label != _ELSEWHERE]
    others = ["all other numbers" if named else "all numbers that no route names"] if _ELSEWHERE in labels else []
    return f"sends to {listed([*named, *others])} now"


def _through(way: _Way) -> str:
    return f"go through {_members(way)}" if way else "reach no gateway"


def _members(way: _Way) -> str:
    return listed([code(name) for name in way], "else") if way else "none"
