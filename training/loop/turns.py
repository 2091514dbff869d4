"""Whose turn it is: the order in which a training goes through its users."""

import numpy as np


def turns(users: np.ndarray, start: int, count: int, seed: int) -> np.ndarray:
    """`count` of `users`, int64[U], from place `start` of an endless row, int64[count].

    In it all users stand once, in a random order, then all once more in another.
    """
    found = []
    for turn in range(start // len(users), -(-(start + count) // len(users))):
        order = np.random.default_rng([seed, turn]).permutation(users)
        began = turn * len(users)
        found.append(order[max(start - began, 0) : start + count - began])
    return np.concatenate(found)
