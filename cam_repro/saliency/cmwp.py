"""Make contrastive maps by excitation backprop: c-MWP (Zhang et al., ECCV 2016, section 3.3)."""

from __future__ import annotations

from cam_repro.saliency.excitation_backprop import ExcitationBackprop


class ContrastiveMwp(ExcitationBackprop):
    """Compute the MWP of a class less that of its opposite; as ``ExcitationBackprop`` says."""

    def __init__(self, layer: str | None = None) -> None:
        super().__init__(layer, contrastive=True)
