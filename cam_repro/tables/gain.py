"""Show the numbers published for GAIN, and beside them how well our cues agree with masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cam_repro.tables.build import Run
from cam_repro.tables.sheet import Sheet, counted, grid, paragraph


@dataclass(frozen=True)
class Published:
    """Hold a row of the paper: mean IoU on VOC 2012's val and test images, in percent."""

    name: str
    val: float
    test: float


PUBLISHED = (
    Published("SEC", 50.7, 51.7),
    Published("GAIN", 55.3, 56.8),
    Published("GAIN extended, 200 images with masks", 58.3, 59.6),
    Published("GAIN extended, 1,464 images with masks", 60.5, 62.1),
)
"""SEC is of Kolesnikov and Lampert (ECCV 2016), GAIN of Li et al. (CVPR 2018), who give all."""

_NOTE = (
    "cited; of a segmentation network that SEC's program trained on cues; nothing here trains it"
)

_HEADER = (
    *("Method", "VOC 2012 val mIoU", "VOC 2012 test mIoU", "cues mIoU", "cues mIoU 95% low"),
    *("cues mIoU 95% high", "cues mIoU oracle", "oracle threshold", "n", "data", "split"),
    *("settings", "run", "note"),
)


def gain_sheet(runs: list[Run]) -> Sheet | None:
    """Make ``table_gain.csv``: the published rows, and one for each run with cues and masks.

    The two are not comparable: the published numbers are of a network trained on cues, ours of the
    cues themselves. None where no run has a mean IoU.
    """
    ours = [run for run in runs if run.manifest.cues and run.manifest.cues.miou]
    if not ours:
        return None
    cited = [
        [row.name, f"{row.val:.1f}", f"{row.test:.1f}", *[""] * (len(_HEADER) - 4), _NOTE]
        for row in PUBLISHED
    ]
    rows = [*cited, *map(_row, ours)]
    return Sheet("table_gain", list(_HEADER), rows, _text(ours))


def _miou(run: Run) -> dict[str, float]:
    assert run.manifest.cues is not None
    assert run.manifest.cues.miou is not None
    return run.manifest.cues.miou


def _n_images(run: Run) -> int | None:
    """Give how many images the mean IoU is over; None where an older version did not keep that."""
    n_images = _miou(run).get("n_images")
    return None if n_images is None else int(n_images)


def _row(run: Run) -> list[str]:
    numbers, manifest, n_images = _miou(run), run.manifest, _n_images(run)
    return [
        *(manifest.label, "", ""),
        *(f"{numbers[key]:.2f}" for key in ("miou", "miou_low", "miou_high", "oracle")),
        *(f"{numbers['oracle_threshold']:.2f}", "" if n_images is None else str(n_images)),
        *(run.data, run.split, _settings(manifest.cue_settings or {}), run.name, ""),
    ]


def _settings(settings: dict[str, Any]) -> str:
    """Write how cues were made, as words of a command line."""
    return " ".join(f"cues.{key}={value}" for key, value in settings.items() if key[0] != "_")


def _text(ours: list[Run]) -> str:
    body = [[row.name, f"{row.val:.1f}", f"{row.test:.1f}", "", "", ""] for row in PUBLISHED]
    for run in ours:
        numbers = _miou(run)
        reach = max(numbers["miou_high"] - numbers["miou"], numbers["miou"] - numbers["miou_low"])
        cells = [f"{numbers['miou']:.2f}", f"±{reach:.1f}", f"{numbers['oracle']:.2f}"]
        body.append([run.manifest.label, "", "", *cells])
    counts = counted(n for n in map(_n_images, ours) if n is not None)
    caption = (
        "**GAIN (Li et al., CVPR 2018), and the cues of our runs (mean IoU, %)**: cues of data set "
        f"{ours[0].data}, split {' and '.join(sorted({run.split for run in ours}))}, {counts}. The "
        "published numbers, on VOC 2012's val and test images, are of a segmentation network that "
        "SEC's program trained on cues; ours are of cues themselves against masks: not "
        "comparable. ±: the farther end of the 95 % bootstrap interval over images. Oracle: at "
        "the threshold that is best on the scored images themselves."
    )
    head = ["method", "val", "test", "cues", "", "oracle"]
    return f"{paragraph(caption)}\n\n{grid(head, body, left=1)}\n"
