"""Make Guided Grad-CAM maps (Selvaraju et al., ICCV 2017, section 3.1)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import interpolate

from cam_repro.models.base import CamNetwork
from cam_repro.saliency.backprop import smooth
from cam_repro.saliency.base import SelectClasses
from cam_repro.saliency.gradcam import GradCam
from cam_repro.saliency.guided_backprop import GuidedBackprop


class GuidedGradCam(GuidedBackprop):
    """Multiply the Guided Backprop map by the Grad-CAM map, enlarged to the input (bilinear).

    layer: of Grad-CAM; None: the last convolution after its ReLU. blur: of the product, as of
    ``GuidedBackprop``.
    """

    def __init__(self, layer: str | None = None, blur: float = 0.03) -> None:
        super().__init__(blur)
        self.gradcam = GradCam(layer)

    def refusal(self, network: CamNetwork) -> str | None:
        """Say why one of the two does not work on the network."""
        return self.gradcam.refusal(network) or super().refusal(network)

    def explain(
        self, network: CamNetwork, x_NCHW: Tensor, select: SelectClasses
    ) -> tuple[Tensor, Tensor]:
        """Classify and explain, as the base class says."""
        chosen: list[Tensor] = []

        def once(logits_NC: Tensor) -> Tensor:
            chosen.append(select(logits_NC))
            return chosen[0]

        logits_NC, gradients_NR3HW = self.guided(network, x_NCHW, once)
        maps_NRhw = self.gradcam(network, x_NCHW, chosen[0])
        large_NRHW = interpolate(maps_NRhw, x_NCHW.shape[2:], mode="bilinear")
        maps_NRHW = gradients_NR3HW.abs().amax(2).float() * large_NRHW
        return logits_NC.float(), smooth(maps_NRHW, self.blur)
