"""A run of the `seed` preset."""

from dataclasses import dataclass

from safetensors import SafetensorError
from safetensors.torch import load_file

from anirank.errors import RunError
from training.run import Run
from training.seed.encoders import Encoders
from training.seed.network import SeedNetwork
from training.seed.settings import SeedSettings


@dataclass(frozen=True)
class SeedRun(Run[SeedSettings]):
    """A run of the `seed` preset."""

    def encoders(self) -> Encoders:
        """The fitted encoders. Raises RunError."""
        return Encoders.load(self.folder, self.settings)

    def new_model(self, encoders: Encoders) -> SeedNetwork:
        """The preset's network with fresh weights."""
        return SeedNetwork(
            encoders.vocabulary_sizes(),
            len(self.settings.deep),
            self.settings.embedding_dim,
            self.settings.hidden,
            self.settings.dropout,
        )

    def model(self, encoders: Encoders) -> SeedNetwork:
        """The trained network, in eval mode. Raises RunError where it does not fit."""
        model = self.new_model(encoders)
        try:
            model.load_state_dict(load_file(self.weights_file))
        except (OSError, SafetensorError) as error:
            raise RunError(f"{self.weights_file}: cannot be read: {error}") from None
        except RuntimeError as error:
            first = str(error).splitlines()[-1].strip()
            raise RunError(f"{self.weights_file}: does not fit the run: {first}") from None
        return model.eval()
