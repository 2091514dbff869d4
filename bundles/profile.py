"""The features of the user that a request may state itself, as the manifest declares them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from anirank.errors import quoted

LARGEST_SINGLE = 3.4028234663852886e38  # the largest float32
_SHOWN = 10  # values named in an error; a category may have thousands


@dataclass(frozen=True, slots=True)
class ProfileField:
    """One feature: a category with the values the model has seen, or a number."""

    name: str
    kind: Literal["category", "number"]
    values: tuple[str, ...] = ()

    def encode(self, value: object) -> float:
        """The value as the graph takes it: the number, or the category's code.

        The code of `values[i]` is i + 1. Raises ValueError with the reason and what is accepted.
        """
        if self.kind == "category":
            if not isinstance(value, str) or value not in self.values:
                raise ValueError(f"{quoted(value)} is not one of {self._accepted()}")
            return float(self.values.index(value) + 1)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{quoted(value)} is not a number")
        if not abs(value) <= LARGEST_SINGLE:
            raise ValueError(f"{quoted(value)} is not a finite number that float32 can hold")
        return float(value)

    def fault(self, code: float) -> str | None:
        """What is wrong with an encoded value, None where nothing is (NaN = not given)."""
        if math.isnan(code):
            return None
        if math.isinf(code):
            return f"{code} is not a finite number"
        if self.kind == "category" and not (code.is_integer() and 0 <= code <= len(self.values)):
            return f"{code} is not a code between 0 and {len(self.values)}"
        return None

    def _accepted(self) -> str:
        names = ", ".join(map(repr, self.values[:_SHOWN]))
        more = len(self.values) - _SHOWN
        return names if more <= 0 else f"{names} and {more} more"

    def declared(self) -> dict[str, object]:
        """The field's entry in the manifest's `profile`, which `read_field` reads."""
        values = {"values": list(self.values)} if self.kind == "category" else {}
        return {"name": self.name, "kind": self.kind, **values}

    @property
    def path(self) -> str:
        """Where the field stands in a request: ``profile.numbers["days_watched"]``."""
        folder = "categories" if self.kind == "category" else "numbers"
        return f'profile.{folder}["{self.name}"]'


def read_field(declared: Mapping[str, object]) -> ProfileField:
    """One entry of the manifest's `profile`; raises ValueError where it is not one."""
    name, kind, values = declared.get("name"), declared.get("kind"), declared.get("values", [])
    if not isinstance(name, str) or not name:
        raise ValueError(f"name is {name!r}, should be text")
    if kind == "number":
        return ProfileField(name, "number")
    if kind != "category":
        raise ValueError(f"kind of {name} is {kind!r}, should be 'category' or 'number'")
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"values of {name} should be a list of text")
    return ProfileField(name, "category", tuple(values))
