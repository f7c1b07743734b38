"""Draw the curves of a training run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from cam_repro.files import atomic_path


def draw_curves(path: Path, records: pd.DataFrame, title: str) -> None:
    """Draw loss and classification error over epochs, training and validation, as a PNG.

    records: the columns of a run's ``log.csv``.
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    loss, error = figure.subplots(1, 2)
    loss.plot(records.epoch, records.train_loss, "o-", ms=3, label="training (augmented)")
    loss.plot(records.epoch, records.val_loss, "o-", ms=3, label="validation")
    loss.set(xlabel="epoch", ylabel="cross-entropy", ylim=(0, None))
    error.plot(records.epoch, records.train_top1_error, "o-", ms=3, label="training top-1")
    error.plot(records.epoch, records.val_top1_error, "o-", ms=3, label="validation top-1")
    error.plot(records.epoch, records.val_top5_error, "o-", ms=3, label="validation top-5")
    error.set(xlabel="epoch", ylabel="classification error, %", ylim=(0, 100))
    for axes in (loss, error):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130)
