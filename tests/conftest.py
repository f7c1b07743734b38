"""Fixtures that several folders of tests share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cam_repro.predictions import write_predictions
from cam_repro.types import Prediction, StrategyGuesses


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes run folders under ``tmp_path / "runs"``.

    Of ``n`` images the first ``cls_right`` are classified right at the first guess and all others
    not at all; the first ``loc_right`` of those have a right box from each strategy.
    """

    def make(
        model: str,
        saliency: str = "cam",
        *,
        cls_right: int = 0,
        loc_right: int = 0,
        n: int = 4,
        split: str = "val",
        view: str = "squash",
        data: str = "demo",
        strategies: tuple[str, ...] = ("threshold", "heuristic"),
        is_ilsvrc: bool = False,
        has_labels: bool = True,
        created: str = "2025-01-01T00:00:00Z",
        fingerprint: str = "f",
        folder: str | None = None,
    ) -> Path:
        right, wrong = (0, 0, 9, 9), (10, 10, 19, 19)
        predictions = []
        for i in range(n):
            classes = [0, 1, 2, 3, 4] if i < cls_right else [1, 2, 3, 4, 5]
            box = right if i < loc_right else wrong
            guesses = StrategyGuesses([(c, box) for c in classes], box if has_labels else None)
            predictions.append(
                Prediction(
                    id=f"image{i:05d}",
                    width=20,
                    height=20,
                    label=0 if has_labels else -1,
                    gt_boxes_M4=np.array([right], np.int32),
                    classes=classes,
                    probabilities=[0.5, 0.2, 0.1, 0.1, 0.1],
                    strategies=dict.fromkeys(strategies, guesses),
                )
            )
        manifest = {
            "command": "cam-eval",
            "model": model,
            "saliency": saliency,
            "view": view,
            "split": split,
            "strategies": list(strategies),
            "data": {
                "name": data,
                "is_ilsvrc": is_ilsvrc,
                "n_classes": 6,
                "fingerprint": fingerprint,
                "has_labels": has_labels,
            },
            "counts": {"images": n, "skipped": 0},
            "created": created,
        }
        suffix = "" if view == "squash" else f"-{view}"
        name = folder or f"{split}-{saliency}{suffix}"
        path = tmp_path / "runs" / data / model / "eval" / name
        write_predictions(path, predictions, manifest)
        return path

    return make
