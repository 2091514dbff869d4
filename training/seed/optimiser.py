"""Adam over an embedding table that touches only the rows a batch reads.

Dense Adam moves every row at every step, since momentum outlives the gradient; over a table of
270,033 users that is nearly all the work of a small batch. A row without gradient moves by a
known amount, though: with r = β1/√β2 and c(s) = η(s) √(1-β2^s) / (1-β1^s), the steps t+1..t+k
after its last gradient at step t add up to

    -m/(√v + ε) · Σ_{j=1..k} r^j c(t+j)  =  -m/(√v + ε) · (F(t) - r^k F(t+k)),
    F(t) = Σ_{j≥1} r^j c(t+j)

(Kingma & Ba 2015, algorithm 1, with ε taken as constant over the gap). So a row is brought up
to date when it is next read, and the table follows dense Adam to rounding.
"""

import numpy as np
import torch
from torch import Tensor, nn


class RowAdam:
    """Adam for the rows of one embedding table.

    `rates`: the learning rate of every step to come, float64[steps]. The rows stand beside their
    moments, so that a batch fetches each with one access; the table itself is brought up to date
    by `settle`.
    """

    def __init__(
        self,
        table: nn.Parameter,
        rates: np.ndarray,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self.table, self.betas, self.eps = table, betas, eps
        self.step = 0
        # Value, momentum and variance, float32[N, 3, E].
        self.rows = torch.zeros(len(table), 3, table.shape[1], device=table.device)
        self.rows[:, 0] = table.detach()
        self.last_step = torch.zeros(len(table), dtype=torch.int64, device=table.device)
        steps = np.arange(1, len(rates) + 1)
        self._correction = np.sqrt(1 - betas[1] ** steps)
        self._pace = rates * self._correction / (1 - betas[0] ** steps)
        self._decay = betas[0] / np.sqrt(betas[1])
        # r^400 is below 1e-18: what comes later does not move a float.
        kernel = self._decay ** np.arange(1, 401)
        ahead = np.convolve(self._pace, kernel[::-1])[len(kernel) - 1 :]
        self._ahead = torch.from_numpy(np.append(ahead, 0.0)).to(table.device)

    @torch.no_grad()
    def read(self, rows: Tensor) -> Tensor:
        """The rows' present values, float32[R, E], as a leaf that gathers their gradient.

        `rows`: int64[R], distinct.
        """
        self._at = rows
        last = self.last_step.index_select(0, rows)
        gap = (self.step - last).unsqueeze(1)
        tail = self._ahead.index_select(0, last).unsqueeze(1)
        tail = tail - self._decay**gap * self._ahead[self.step]
        stale_eps = self.eps * float(self._correction[min(self.step, len(self._pace) - 1)])
        self._read = self.rows.index_select(0, rows)
        value, momentum, variance = self._read.unbind(1)
        value.addcdiv_(tail.float() * momentum, variance.sqrt().add_(stale_eps), value=-1)
        momentum.mul_(torch.pow(self.betas[0], gap))
        variance.mul_(torch.pow(self.betas[1], gap))
        leaf: Tensor = value.clone().requires_grad_()
        return leaf

    @torch.no_grad()
    def update(self, gradient: Tensor) -> None:
        """One Adam step with the gradient of the rows last read, float32[R, E]."""
        self.step += 1
        value, momentum, variance = self._read.unbind(1)
        momentum.lerp_(gradient, 1 - self.betas[0])
        variance.mul_(self.betas[1]).addcmul_(gradient, gradient, value=1 - self.betas[1])
        eps = self.eps * float(self._correction[self.step - 1])
        value.addcdiv_(momentum, variance.sqrt().add_(eps), value=-self._pace[self.step - 1])
        self._write()

    @torch.no_grad()
    def settle(self) -> None:
        """Bring every row of the table up to date."""
        for rows in torch.arange(len(self.table), device=self.table.device).split(1 << 16):
            self.table[rows] = self.read(rows)
            self._write()

    def _write(self) -> None:
        self.rows.index_copy_(0, self._at, self._read)
        self.last_step.index_fill_(0, self._at, self.step)

    def state(self) -> dict[str, Tensor]:
        """What `restore` needs to go on, bit for bit."""
        step = torch.tensor([self.step])
        return {"rows": self.rows, "last_step": self.last_step, "step": step}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up a `state`."""
        self.rows.copy_(state["rows"])
        self.last_step.copy_(state["last_step"])
        self.step = int(state["step"])
