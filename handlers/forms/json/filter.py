"""The JSON form of a filter, named as in the proto file but for `only_ids`, which is a list.

``{"genres": {"any": ["Action"], "all": [], "none": ["Ecchi"]}, "types": {"any": ["TV"]},
"years": {"min": 2000, "max": 2010}, "episodes": {"max": 26}, "without_ids": [1], "only_ids": [5]}``
"""

from typing import Any

from anirank.errors import Fault, quoted
from bundles.facets import COLUMNS
from handlers.engine.query import Limits
from handlers.engine.refusal import Refusal
from handlers.filters.filter import RANGES, Filter, Range, Values
from handlers.forms.json.values import an_object, ids, integer, only

_KEYS = (*COLUMNS, *RANGES, "without_ids", "only_ids")


def read_filter(item: object, limits: Limits, refusal: Refusal) -> Filter:
    """The filter in a parsed JSON item; what is wrong in it is taken down and left out."""
    item = an_object(item, "filter", refusal)
    only(item, _KEYS, "filter.", refusal)
    found: dict[str, Any] = {}
    for name in COLUMNS:
        found[name] = _values(item.get(name, {}), f"filter.{name}", limits, refusal)
    for name in RANGES:
        found[name] = _range(item.get(name, {}), f"filter.{name}", refusal)
    for name in ("without_ids", "only_ids"):
        if name in item:
            read = ids(item[name], f"filter.{name}", 0, limits.filter_ids, refusal)
            found |= {} if read is None else {name: read}
    return Filter(**found)


def write_filter(asked: Filter) -> dict[str, Any]:
    """A filter as a JSON object, which `read_filter` reads."""
    written: dict[str, Any] = {}
    for column, name, values in asked.lists():
        written.setdefault(column, {})[name] = list(values)
    for name, ends in asked.ranges():
        written[name] = {key: end for key, end in ends._asdict().items() if end is not None}
    if len(asked.without_ids):
        written["without_ids"] = asked.without_ids.tolist()
    if asked.only_ids is not None:
        written["only_ids"] = asked.only_ids.tolist()
    return written


def _values(item: object, path: str, limits: Limits, refusal: Refusal) -> Values:
    item = an_object(item, path, refusal)
    only(item, Values._fields, f"{path}.", refusal)
    return Values(
        *(_texts(item.get(name, []), f"{path}.{name}", limits, refusal) for name in Values._fields)
    )


def _texts(values: object, path: str, limits: Limits, refusal: Refusal) -> tuple[str, ...]:
    if not isinstance(values, list):
        refusal.add(path, f"{quoted(values)} is not a list")
        return ()
    if not refusal.bounded(path, len(values), 0, limits.filter_values):
        return ()
    wrong = [i for i, value in enumerate(values) if not isinstance(value, str)]
    refusal.extend(
        len(wrong), (Fault(f"{path}[{i}]", f"{quoted(values[i])} is not text") for i in wrong)
    )
    return () if wrong else tuple(values)


def _range(item: object, path: str, refusal: Refusal) -> Range:
    item = an_object(item, path, refusal)
    only(item, Range._fields, f"{path}.", refusal)
    return Range(*(integer(item, name, refusal, folder=f"{path}.") for name in Range._fields))
