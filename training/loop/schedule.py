"""The learning rate of each step."""

import numpy as np

from training.settings import Optimisation


def learning_rates(settings: Optimisation, batches: int) -> np.ndarray:
    """The learning rate of each step, float64[epochs x batches]."""
    progress = np.arange(settings.epochs * batches) / (settings.epochs * batches)
    if settings.schedule == "cosine":
        return settings.learning_rate * (1 + np.cos(np.pi * progress)) / 2
    return np.full(len(progress), settings.learning_rate)
