"""Dropout whose mask does not depend on who computes an image."""

from __future__ import annotations

import torch
from torch import nn

from cam_repro.models.layers import Dropout, place_in_batch


def _dropped(layer: Dropout, x_NK: torch.Tensor, rows: list[int], seed: int = 3) -> torch.Tensor:
    place_in_batch(layer, 6, torch.tensor(rows))
    torch.manual_seed(seed)
    result: torch.Tensor = layer(x_NK[rows])
    return result


def test_the_mask_is_that_of_the_image_whoever_computes_it():
    layer, x_NK = Dropout(0.25), torch.arange(1.0, 6 * 50 + 1).view(6, 50)
    whole = _dropped(layer, x_NK, [0, 1, 2, 3, 4, 5])
    for rows in ([0, 2, 4], [1, 3, 5], [4], [0, 2, 4, 1]):
        assert torch.equal(_dropped(layer, x_NK, rows), whole[rows])
    # What is kept is enlarged, so that the mean stays; a quarter is lost, in other places by row.
    kept = whole != 0
    torch.testing.assert_close(whole[kept], x_NK[kept] / 0.75)
    assert 0.65 < kept.float().mean() < 0.85
    assert not torch.equal(kept[0], kept[1])
    assert not torch.equal(_dropped(layer, x_NK, [0], seed=4), whole[:1])


def test_it_is_torchs_where_no_batch_is_known_and_nothing_in_evaluation():
    layer, x_NK = Dropout(0.5), torch.ones(4, 9)
    torch.manual_seed(1)
    ours = layer(x_NK)
    torch.manual_seed(1)
    assert torch.equal(ours, nn.Dropout(0.5)(x_NK))
    assert torch.equal(layer.eval()(x_NK), x_NK)
    never = Dropout(0.0)
    place_in_batch(never, 4, torch.arange(4))
    assert torch.equal(never(x_NK), x_NK)
