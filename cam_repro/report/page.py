"""Write the report's page: Jinja2 templates filled with what build.py gathered."""

from __future__ import annotations

import jinja2
import matplotlib as mpl
from matplotlib.colors import to_hex

from cam_repro.figures import style
from cam_repro.figures.pictures import WHOLE_LINE, say_probability
from cam_repro.metrics.intervals import Number
from cam_repro.progress import duration
from cam_repro.report.build import Report
from cam_repro.report.curves import NAMES
from cam_repro.runs.manifest import Provenance
from cam_repro.truth import Truth

TEMPLATE = "report.html.j2"


def render(report: Report, provenance: Provenance) -> str:
    """Make the HTML of a report; all that comes from files is escaped.

    provenance: of the page itself.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cam_repro.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ends": ends,
        "probability": say_probability,
        "signed": signed,
        "difference": difference,
        "duration": duration,
        "without_box": without_box,
    }
    template = environment.get_template(TEMPLATE)
    return template.render(
        report=report,
        written=provenance,
        error_names=NAMES,
        look=style,
        whole=WHOLE_LINE.get_label(),
        map_stops=[
            to_hex(mpl.colormaps[style.MAP_COLOURS](share)) for share in (1 / 3, 2 / 3, 1.0)
        ],
    )


def ends(number: Number, digits: int = 1) -> str:
    """Write an interval: ``41.8–50.6``.

    Where none or all of the images are wrong, the bootstrap's interval is a point, which would look
    certain however few they are: ``none of 12`` is written instead.
    """
    if number.low == number.high:
        return f"{'all' if number.error else 'none'} of {number.n:,}"
    return f"{number.low:.{digits}f}–{number.high:.{digits}f}"


def signed(points: float, digits: int = 2) -> str:
    """Write a difference with its sign, as typographers do: ``−1.20``, ``+0.35``."""
    return f"{points:+.{digits}f}".replace("-", "−")


def difference(number: Number, paper: float) -> str:
    """Write the interval of ours - paper, the paper's number taken as exact."""
    return f"{signed(number.low - paper, 1)} to {signed(number.high - paper, 1)}"


def without_box(truth: Truth) -> int:
    """Count the images that have no true box."""
    return int((truth.boxes.counts_N == 0).sum())
