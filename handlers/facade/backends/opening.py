"""From the name of a backend to what opens it."""

from importlib import import_module

from handlers.facade.backends.backend import Opener
from handlers.facade.backends.fallback import FallbackOpener
from handlers.facade.settings import BACKENDS, Settings

FALLBACK = "embedded"  # which computes where another does not answer


def opener(settings: Settings) -> Opener:
    """What opens the backend that `settings` name; only its own module is imported."""
    if settings.fallback and settings.backend != FALLBACK:
        return FallbackOpener(_named(settings.backend, settings), _named(FALLBACK, settings))
    return _named(settings.backend, settings)


def _named(name: str, settings: Settings) -> Opener:
    found: Opener = import_module(f"handlers.facade.backends.{BACKENDS[name]}").Opener(settings)
    return found
