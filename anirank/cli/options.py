"""Options of the command line, made of the fields of a settings model, or of a dataclass.

What several commands take is a dataclass, whose fields are options of each of them (`spread`). A
field of the settings is one option and one environment variable: `grace_s` is `--grace` and
ANIRANK_GRACE. The command line goes before the environment, and that before the default.

    python -m anirank.cli.options [FILE ...]

prints the options of `anirank serve` as a table of Markdown, or writes it into the files, between
the lines `<!-- settings -->` and `<!-- /settings -->`.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import typer
from annotated_types import Ge
from pydantic.fields import FieldInfo
from typer.models import OptionInfo

from bundles.files import write_text
from handlers.facade.settings import Settings, Spelling, option_of

BEGIN, END = "<!-- settings -->", "<!-- /settings -->"

Command = TypeVar("Command", bound=Callable[..., None])


class _Option(NamedTuple):
    """A field as an option. type: what typer parses it as. least: its lower bound, if any.

    unset: what stands for the default where that cannot be written as a value.
    """

    name: str
    type: Any
    default: Any
    description: str
    metavar: str | None
    least: Any
    unset: str | None

    @property
    def variable(self) -> str:
        return "ANIRANK_" + self.name.removeprefix("--").replace("-", "_").upper()

    def typed(self) -> OptionInfo:
        """As typer takes it."""
        default = "" if self.unset is None else f" [default: {self.unset}]"
        option: OptionInfo = typer.Option(
            self.name,
            help=self.description + default,
            envvar=self.variable,
            metavar=self.metavar,
            min=self.least,
        )
        return option


def option(field: str) -> OptionInfo:
    """The option of one of `Settings`, for other commands that take it too."""
    return _read(field, Settings.model_fields[field]).typed()


def from_settings(command: Command) -> Command:
    """A command that takes each field of `Settings` by its name, as an option."""
    read = {name: _read(name, field) for name, field in Settings.model_fields.items()}
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=option.default,
            annotation=Annotated[option.type, option.typed()],
        )
        for name, option in read.items()
    ]
    signature = inspect.Signature(parameters, return_annotation=None)
    command.__signature__ = signature  # type: ignore[attr-defined]  # which `inspect` looks for
    return command


def spread(command: Command) -> Command:
    """A command that takes the fields of each dataclass among its parameters as options."""
    parameters: list[inspect.Parameter] = []
    made: dict[str, Any] = {}  # the dataclass of each parameter that is one
    for name, parameter in inspect.signature(command).parameters.items():
        of = parameter.annotation
        if not is_dataclass(of):
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        made[name] = of
        hints = get_type_hints(of, include_extras=True)
        parameters += [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=hints[field.name],
            )
            for field in fields(of)
        ]

    @wraps(command)
    def run(**given: Any) -> None:
        whole = {
            name: of(**{field.name: given.pop(field.name) for field in fields(of)})
            for name, of in made.items()
        }
        command(**given, **whole)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # as above
    return cast(Command, run)


def settings_of(given: Mapping[str, Any]) -> Settings:
    """The settings that a command made by `from_settings` is given; raises SettingsError."""
    return Settings(**{name: value for name, value in given.items() if value not in (None, [])})


def table() -> str:
    """The options of `Settings` as a table of Markdown."""
    lines = ["| option | environment | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        option = _read(name, field)
        default = option.unset or f"`{_written(option.default)}`"
        cells = (f"`{option.name}`", f"`{option.variable}`", default, _meaning(option))
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def replaced(page: str) -> str:
    """A page with the table as it is now between its markers; raises ValueError without them."""
    before, _, rest = page.partition(f"{BEGIN}\n")
    _, marker, after = rest.partition(END)
    if not marker:
        raise ValueError(f"no lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _read(name: str, field: FieldInfo) -> _Option:
    spelled = [each for each in field.metadata if isinstance(each, Spelling)] or [Spelling()]
    bounds = [each.ge for each in field.metadata if isinstance(each, Ge)]
    default = field.default
    kind: Any = Literal[spelled[0].choices] if spelled[0].choices else field.annotation
    if get_origin(kind) in (tuple, Mapping):  # given once for each
        kind, default = list[get_args(kind)[0]] | None, None  # type: ignore[misc]  # made here
    return _Option(
        option_of(name),
        kind,
        default,
        field.description or "",
        spelled[0].metavar,
        bounds[0] if bounds else None,
        spelled[0].default,
    )


def _meaning(option: _Option) -> str:
    if get_origin(option.type) is Literal:
        return f"{option.description} One of {', '.join(f'`{e}`' for e in get_args(option.type))}."
    return option.description


def _written(default: Any) -> str:
    return ("off", "on")[default] if isinstance(default, bool) else str(default)


def main() -> None:
    """Print the table, or write it into the pages named."""
    if not sys.argv[1:]:
        print(table())
    for page in map(Path, sys.argv[1:]):
        write_text(page, replaced(page.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
