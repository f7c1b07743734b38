"""Draw figures of runs: what ``cam-figures`` does. Needs neither torch nor the data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cam_repro.commands.score import BoxChoice
from cam_repro.config import build_named
from cam_repro.errors import UserError, if_stopped, one_of
from cam_repro.figures import style
from cam_repro.figures.base import RunFigure, Wanted
from cam_repro.runs.examples import KINDS
from cam_repro.runs.folders import find_run_folders, find_training_runs, named_runs


@dataclass
class FiguresSettings:
    """Hold the settings of ``cam-figures``: configs/figures.yaml."""

    figure: dict[str, Any] = field(default_factory=dict)
    runs: Any = None
    box: BoxChoice = field(default_factory=BoxChoice)
    images: Any = None
    sort: str = "even"
    count: int | None = None
    output: str | None = None

    def __post_init__(self) -> None:
        if self.runs is None:
            raise UserError("runs not given: add runs=DIR or runs=[A,B] (see --help)")
        one_of("sort", self.sort, KINDS)
        if self.count is not None and self.count < 1:
            raise UserError(f"count={self.count}: must be 1 or more images")


@if_stopped("no figure is written; an older one is kept")
def run_figures(settings: FiguresSettings) -> Path:
    """Draw a figure; return the file written."""
    name, figure = build_named(RunFigure, "figure", settings.figure)  # type: ignore[type-abstract]
    _refuse_unused(settings, name, figure)
    path = Path(settings.output or f"figure-{name}.png")
    style.check_figure_path(path)
    names = named_runs("runs", settings.runs)
    if figure.of_training:
        folders = find_training_runs(names)
    else:
        folders = list(find_run_folders(names).values())
    wanted = Wanted(
        names=",".join(names),
        folders=folders,
        box=settings.box.name,
        images=_ids(settings.images),
        sort=settings.sort,
        count=settings.count,
    )
    style.save(figure.draw(wanted), path)
    return path


def _refuse_unused(settings: FiguresSettings, name: str, figure: RunFigure) -> None:
    """Raise UserError for a setting that makes no difference to the figure. name: the figure's."""
    given = {
        "box": settings.box.name is not None,
        "images": settings.images is not None,
        "sort": settings.sort != "even",
        "count": settings.count is not None,
    }
    for key in (key for key, is_given in given.items() if is_given):
        if key not in figure.uses:
            raise UserError(f"{key} is not used by figure={name}: leave it out")
        if key in ("sort", "count") and given["images"]:
            raise UserError(f"{key} is not used beside images: leave one of them out")


def _ids(images: Any) -> list[str]:
    """List the ids that ``images=`` names: one, or several in brackets."""
    if images is None:
        return []
    return [str(image_id) for image_id in (images if isinstance(images, list) else [images])]
