import torch

from training.seed.network import Dropout, SeedNetwork


def test_the_network_is_embeddings_beside_a_tower_into_one_linear_layer() -> None:
    torch.manual_seed(0)
    model = SeedNetwork([3, 5], 4, 16, (8, 6), 0.2).eval()
    codes, deep = torch.tensor([[2, 4], [0, 1]]), torch.randn(2, 4)
    tables = model.wide.weight.split([3, 5])
    wide = torch.cat([table[column] for table, column in zip(tables, codes.T, strict=True)], dim=1)
    joined = torch.cat([wide, model.deep(deep)], dim=1)
    torch.testing.assert_close(model(codes, deep), model.head(joined).squeeze(1))


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    units = torch.ones(1000, 333)
    dropped = Dropout(0.2).train()(units)
    assert set(dropped.unique().tolist()) == {0.0, 1.25}
    assert abs((dropped == 0).float().mean() - 0.2) < 0.002
    # Neighbours share a 64-bit draw and must not share a fate.
    zero = dropped.flatten() == 0
    assert abs((zero[1:] & zero[:-1]).float().mean() - 0.04) < 0.002


def test_dropout_is_off_in_eval_mode() -> None:
    units = torch.randn(5, 5)
    assert torch.equal(Dropout(0.2).eval()(units), units)
