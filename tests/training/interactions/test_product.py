import numpy as np
import pytest
import scipy.sparse as sp

from training.interactions import product as module
from training.interactions.product import product


@pytest.fixture
def factors() -> tuple[sp.csr_array, sp.csr_array]:
    """float32[50, 30] and float32[30, 40], some rows of either empty."""
    rng = np.random.default_rng(0)
    left, right = (
        ((rng.random(shape) < 0.2) * rng.random(shape)).astype(np.float32)
        for shape in ((50, 30), (30, 40))
    )
    left[7] = right[3] = 0
    return sp.csr_array(left), sp.csr_array(right)


@pytest.mark.parametrize("rows", [32, 7])
def test_the_product_is_scipys_to_the_last_bit(
    factors: tuple[sp.csr_array, sp.csr_array], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_AT_ONCE", rows)
    left, right = factors
    found = product(left, right)
    assert found.dtype == np.float32
    assert not found[7].any()
    np.testing.assert_array_equal(found, (left @ right).toarray())


def test_of_no_rows_it_has_no_rows(factors: tuple[sp.csr_array, sp.csr_array]) -> None:
    assert product(factors[0][:0], factors[1]).shape == (0, 40)
