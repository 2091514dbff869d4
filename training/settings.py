"""Settings of a preset: data that a run keeps, with nothing in it that is not declared."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from anirank.errors import PresetError

Schedule = Literal["constant", "cosine"]


class Strict(BaseModel):
    """Data that holds what is declared and nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Optimisation(Strict):
    """Adam's settings. The learning rate is constant, or falls to zero along half a cosine."""

    learning_rate: float = Field(default=0.001, gt=0)
    schedule: Schedule = "constant"
    batch_size: int = Field(default=256, ge=1)
    epochs: int = Field(default=10, ge=1)


class Settings(Strict):
    """What every preset is told.

    split: shares of training, validation and test. seed: fixes split, weights and order.
    """

    name: str
    label: str
    split: tuple[float, float, float] = (0.70, 0.15, 0.15)
    optimisation: Optimisation = Optimisation()
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _split_is_whole(self) -> Self:
        if abs(sum(self.split) - 1) > 1e-9 or min(self.split) <= 0:
            raise ValueError(f"split {self.split} is not three positive parts that make 1")
        return self

    @classmethod
    def validated(cls, declared: dict[str, Any]) -> Self:
        """Settings from plain data. Raises PresetError that names the first field that is wrong."""
        try:
            return cls.model_validate(declared)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "preset"
            raise PresetError(f"{where}: {first['msg']}, found {first.get('input')!r}") from None

    def resolved(self, **given: Any) -> Self:
        """These settings with what is given, and is not None, in place of their own.

        What stands in `optimisation` is given by its own name. Raises PresetError where a value is
        not one that the preset takes.
        """
        settings = self.model_dump()
        for name, value in given.items():
            if value is not None:
                of = settings["optimisation"] if name in Optimisation.model_fields else settings
                of[name] = value
        return self.validated(settings)
