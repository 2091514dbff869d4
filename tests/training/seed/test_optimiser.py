import numpy as np
import pytest
import torch
from torch import nn

from training.loop.schedule import learning_rates
from training.seed.optimiser import RowAdam
from training.settings import Optimisation, Schedule


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_rows_read_now_and_then_follow_dense_adam(schedule: Schedule) -> None:
    torch.manual_seed(0)
    settings = Optimisation(learning_rate=0.01, schedule=schedule, epochs=1)
    rates = learning_rates(settings, 600)
    start = torch.randn(50, 4)
    dense, sparse = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    peer = torch.optim.Adam([dense])
    ours = RowAdam(sparse, rates)
    rng = np.random.default_rng(0)
    for rate in rates:
        # Zipf: some rows come at every step, some after hundreds, some never.
        rows = torch.from_numpy(np.unique(rng.zipf(1.5, 6) % 48))
        target = torch.randn(len(rows), 4)
        peer.param_groups[0]["lr"] = rate
        peer.zero_grad()
        ((dense[rows] - target) ** 2).sum().backward()
        peer.step()
        values = ours.read(rows)
        ((values - target) ** 2).sum().backward()
        assert values.grad is not None
        ours.update(values.grad)
    ours.settle()
    assert not torch.equal(dense, start)
    torch.testing.assert_close(sparse, dense, atol=2e-5, rtol=1e-4)


def test_a_restored_state_goes_on_bit_for_bit() -> None:
    rates = np.full(40, 0.01)
    tables = []
    for interrupted in (False, True):
        torch.manual_seed(1)
        table = nn.Parameter(torch.randn(20, 3))
        adam = RowAdam(table, rates)
        for step in range(40):
            if interrupted and step == 17:
                state = {name: tensor.clone() for name, tensor in adam.state().items()}
                adam = RowAdam(table, rates)
                adam.restore(state)
            values = adam.read(torch.arange(step % 7, 20, 3))
            (values * torch.randn_like(values)).sum().backward()
            assert values.grad is not None
            adam.update(values.grad)
        adam.settle()
        tables.append(table.detach())
    assert torch.equal(*tables)
