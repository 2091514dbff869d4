"""What `model-config.yaml` may say under its key `ranking`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from anirank.errors import BundleError, quoted
from handlers.engine.query import Limits

_KEYS = ("max_candidates", "max_history", "threads")


@dataclass(frozen=True, slots=True)
class Options:
    """The limits of a request, and the threads that compute one batch."""

    limits: Limits = field(default_factory=Limits)
    threads: int = 1


def read_options(config: Mapping[str, object] | None) -> Options:
    """The options in a parsed model-config.yaml; raises BundleError for an unknown key or value."""
    given = (config or {}).get("ranking") or {}
    if not isinstance(given, dict):
        raise BundleError(f"model-config.yaml: ranking is {quoted(given)}, should be a mapping")
    for key, value in given.items():
        if key not in _KEYS:
            raise BundleError(
                f"model-config.yaml: ranking.{key} is not known; known are {', '.join(_KEYS)}"
            )
        if type(value) is not int or value < 1:
            raise BundleError(
                f"model-config.yaml: ranking.{key} is {quoted(value)}, should be at least 1"
            )
    limits = Limits()
    limits = replace(
        limits,
        candidates=given.get("max_candidates", limits.candidates),
        history=given.get("max_history", limits.history),
    )
    return Options(limits, given.get("threads", Options().threads))
