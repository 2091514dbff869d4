from itertools import islice

import pytest
import torch

from benchmarks.training.ablation import Validation
from training.personal.run import PersonalRun


@pytest.mark.slow
def test_what_the_wide_part_reaches_alone_owes_nothing_to_the_network(
    personal: PersonalRun,
) -> None:
    validation = Validation(personal)
    alone = [*validation.crosses()][:2], [*islice(validation.mixes(), 2)]
    torch.manual_seed(0)
    for parameter in validation.model.network.parameters():
        torch.nn.init.normal_(parameter.data)
    again = [*validation.crosses()][:2], [*islice(validation.mixes(), 2)]
    assert again[0] == alone[0]
    (whole, wide), (other, same) = alone[1], again[1]
    assert wide == same
    assert whole != other
