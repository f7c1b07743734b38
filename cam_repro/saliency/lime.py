"""Make LIME maps (Ribeiro, Singh, Guestrin, KDD 2016), by captum."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor

from cam_repro.models.base import CamNetwork
from cam_repro.saliency.masking import MaskingSaliency, at_least


class Lime(MaskingSaliency):
    """Fit a linear model to the probability of a class, of copies with random parts hidden.

    Its weights are the map. The parts are the squares of a grid; the paper's are superpixels, which
    differ from image to image. Fitting, weights of the samples and the sampling are captum's
    defaults: a lasso, weights by cosine distance.

    cells: squares on each side. samples: copies. at_a_time: copies in a batch.
    """

    def __init__(
        self, cells: int = 8, samples: int = 1000, seed: int = 0, at_a_time: int = 32
    ) -> None:
        super().__init__(at_a_time)
        self.cells, self.samples = at_least("cells", cells, 1), at_least("samples", samples, 1)
        self.seed = at_least("seed", seed, 0)

    def refusal(self, network: CamNetwork) -> str | None:
        """Say what is missing where captum is not installed."""
        missing = [name for name in ("captum", "sklearn") if importlib.util.find_spec(name) is None]
        if not missing:
            return None
        return "captum, or scikit-learn, is not installed (pip install captum scikit-learn)"

    def of_image(self, network: CamNetwork, x_CHW: Tensor, classes_R: Tensor) -> Tensor:
        """Compute maps_Rhw, as the class says."""
        from captum.attr import Lime as CaptumLime  # type: ignore[import-untyped]

        height, width = x_CHW.shape[1:]
        rows_H = torch.arange(height, device=x_CHW.device) * self.cells // height
        columns_W = torch.arange(width, device=x_CHW.device) * self.cells // width
        part_HW = rows_H[:, None] * self.cells + columns_W

        def probabilities(x_BCHW: Tensor) -> Tensor:
            return network(x_BCHW).float().softmax(1)

        lime: Any = CaptumLime(probabilities)
        maps = []
        for target in classes_R.tolist():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                weights_1CHW = lime.attribute(
                    x_CHW[None],
                    target=target,
                    feature_mask=part_HW.expand(1, 1, -1, -1),
                    n_samples=self.samples,
                    perturbations_per_eval=self.at_a_time,
                )
            maps.append(weights_1CHW[0, 0].float())
        return torch.stack(maps)
