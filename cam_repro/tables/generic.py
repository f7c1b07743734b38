"""Fill the paper's Tables 4 and 5 from what cam-generic wrote: linear SVMs on features."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from cam_repro.config import changed_of
from cam_repro.errors import UserError
from cam_repro.runs.folders import find_svms
from cam_repro.runs.manifest import DEFAULT_VIEW, Crops, SvmManifest, read_svm_manifest
from cam_repro.tables.sheet import Footnotes, Sheet, grid, paragraph

log = logging.getLogger(__name__)

FULL, CROP, TRUE_BOX = "full image", "box of a run", "true box"
"""What the network saw of an image."""

ORACLE_CROP = f"{CROP}, true class"
"""The same: that box is of the class that the image truly has, which no network is told."""


@dataclass(frozen=True)
class Svm:
    """Hold what cam-generic wrote: its folder, for the column ``run``, and its manifest."""

    name: str
    manifest: SvmManifest

    @property
    def model(self) -> str:
        """The NAME of ``model=NAME`` of its network."""
        return str((self.manifest.config.get("model") or {}).get("name", self.manifest.model))

    @property
    def parted(self) -> str:
        """How its images were parted: the NAME of ``partition=NAME``, or ``train/val``."""
        return self.manifest.parted.removeprefix("partition=")

    @property
    def seen(self) -> str:
        """What the network saw of an image: of training and of test images, where they differ."""
        train, test = _seen(self.manifest.train_crops), _seen(self.manifest.crops)
        return test if train == test else f"{train} / {test}"

    @property
    def is_of_table_4(self) -> bool:
        """Whether it was trained on the training images of CUB and tested on its test images.

        A set of another name or other images may be called so too, as CUBV2 is.
        """
        n_images = self.manifest.accuracy.n_train, self.manifest.accuracy.n_test
        return self.manifest.data == CUB and n_images == CUB_IMAGES

    @property
    def settings(self) -> list[str]:
        """Those that are not the default."""
        manifest = self.manifest
        words = [] if manifest.svm.get("C") == 1 else [f"C={manifest.svm.get('C'):g}"]
        words += [] if manifest.view == DEFAULT_VIEW else [f"view={manifest.view}"]
        partition = dict(manifest.svm.get("partition") or {})
        partition.pop("lists", None)  # where they lie decides nothing
        return words + changed_of("partition", self.parted, partition, "partition")

    @property
    def accuracy(self) -> str:
        return f"{self.manifest.accuracy.percent:.2f}"

    @property
    def ends(self) -> list[str]:
        """The interval's ends, or nothing where there are several repeats."""
        accuracy = self.manifest.accuracy
        return ["" if end is None else f"{end:.2f}" for end in (accuracy.low, accuracy.high)]

    @property
    def std(self) -> str:
        """The standard deviation over repeats, or nothing where there is one."""
        std = self.manifest.accuracy.std
        return "" if std is None else f"{std:.2f}"

    @property
    def spread(self) -> str:
        """How far the interval's farther end is from it, or the standard deviation."""
        accuracy = self.manifest.accuracy
        if accuracy.low is None or accuracy.high is None:
            return f"sd {self.std}"
        reach = max(accuracy.high - accuracy.percent, accuracy.percent - accuracy.low)
        return f"±{reach:.1f}"


def _seen(crops: Crops | None) -> str:
    """Say what the network saw of the images of a split."""
    if crops is None:
        return FULL
    if crops.boxes == "truth":
        return TRUE_BOX
    return CROP if crops.of_class == "guess" else ORACLE_CROP


def find_generic(names: list[str], data: str | None = None) -> list[Svm]:
    """Find what cam-generic wrote; one that cannot be read is left out with a warning.

    names: as of ``runs.folders.find_svms``. data: of one data set or partition; None: of all.
    """
    found = []
    for name, folder in find_svms(names).items():
        try:
            svm = Svm(name, read_svm_manifest(folder))
        except UserError as error:
            log.warning("left out: %s", error)
            continue
        if data in (None, svm.manifest.data, svm.parted):
            found.append(svm)
    return found


def generic_sheets(svms: Sequence[Svm]) -> list[Sheet]:
    """Make Table 4, Table 5, and the table of all SVMs; of several that fit a row, the newest."""
    return [_table4(svms), _table5(svms), _all(svms)]


def _newest(svms: Sequence[Svm], model: str, seen: str) -> Svm | None:
    """Give the newest SVM of a network that saw this of images; None where there is none."""
    fitting = [svm for svm in svms if (svm.model, svm.seen) == (model, seen)]
    return max(fitting, key=lambda svm: svm.manifest.provenance.created, default=None)


# --- Table 4 -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FineGrained:
    """Hold a row of Table 4: method, annotation used, accuracy in percent.

    seen: what our network sees of an image in this row; None where nothing here does it. right:
    percent of the boxes that are right.
    """

    name: str
    annotation: str
    accuracy: float
    seen: str | None = None
    right: float | None = None


TABLE4 = (
    FineGrained("GoogLeNet-GAP on full image", "n/a", 63.0, FULL),
    FineGrained("GoogLeNet-GAP on crop", "n/a", 67.8, CROP, 41.0),
    FineGrained("GoogLeNet-GAP on BBox", "BBox", 70.5, TRUE_BOX),
    FineGrained("Alignments", "n/a", 53.6),
    FineGrained("Alignments", "BBox", 67.0),
    FineGrained("DPD", "BBox+Parts", 51.0),
    FineGrained("DeCAF+DPD", "BBox+Parts", 65.0),
    FineGrained("PANDA R-CNN", "BBox+Parts", 76.4),
)
CUB, GAP = "cub", "googlenet_gap"
"""The data set of Table 4, and the network of its rows."""

CUB_IMAGES = (5994, 5794)
"""How many training and test images it has."""

_CITED = "cited; nothing here trains it"

_HEADER4 = (
    *("Methods", "Train/Test Anno.", "Accuracy", "paper Accuracy", "Accuracy 95% low"),
    *("Accuracy 95% high", "boxes right", "paper boxes right", "n", "data", "settings", "run"),
    "note",
)


def _table4(svms: Sequence[Svm]) -> Sheet:
    fitting = [svm for svm in svms if svm.is_of_table_4]
    ours = [_newest(fitting, GAP, row.seen) if row.seen else None for row in TABLE4]
    rows, body, notes = [], [], Footnotes()
    for row, svm in zip(TABLE4, ours, strict=True):
        right = "" if svm is None else _right(svm)
        papers = "" if row.right is None else f"{row.right:.1f}"
        numbers = ["", "", ""] if svm is None else [svm.accuracy, *svm.ends]
        end = ["", "", "", ""]
        if svm is not None:
            n_test = str(svm.manifest.accuracy.n_test)
            end = [n_test, CUB, " ".join(svm.settings), svm.name]
        note = "" if row.seen else _CITED
        accuracy, *ends = numbers
        paper = f"{row.accuracy:.1f}"
        rows.append([row.name, row.annotation, accuracy, paper, *ends, right, papers, *end, note])
        mark = notes.mark(svm.settings if svm else ())
        spread = svm.spread if svm else ""
        body.append([row.name + mark, row.annotation, accuracy, spread, paper, right, papers])
    caption = (
        "**Table 4: fine-grained classification on CUB-200-2011 (accuracy, %)**: a linear SVM on "
        "GAP features, 5,994 training and 5,794 test images; an SVM of other images, or trained "
        "and tested on unlike crops, is in the table of all SVMs alone. boxes: those of the crops "
        "of test images that overlap the true one by an IoU of 0.5 or more. ±: the farther end of "
        "the 95 % bootstrap interval over images."
    )
    head = ["method", "annotation", "accuracy", "", "paper", "boxes", "paper"]
    text = f"{paragraph(caption)}\n\n{grid(head, body, left=2)}\n{notes.text()}"
    return Sheet("table4", list(_HEADER4), rows, text, is_empty=not any(ours))


def _right(svm: Svm) -> str:
    """Write how many percent of the boxes of its crops are right; nothing where it is not known."""
    crops = svm.manifest.crops
    return "" if crops is None or crops.right is None else f"{crops.right:.2f}"


# --- Table 5 -------------------------------------------------------------------------------------

SETS = {
    "sun397": "SUN397",
    "indoor67": "MIT Indoor67",
    "scene15": "Scene15",
    "sun_attribute": "SUN Attribute",
    "caltech101": "Caltech101",
    "caltech256": "Caltech256",
    "action40": "Action40",
    "event8": "Event8",
}
"""The data sets of Table 5, by the names of their partitions."""

TABLE5 = {
    ("fc7 of AlexNet", "alexnet"): (42.61, 56.79, 84.23, 84.23, 87.22, 67.23, 54.92, 94.42),
    ("ave pool of GoogLeNet", "googlenet"): (
        *(51.68, 66.63, 88.02, 92.85),
        *(92.05, 78.99, 72.03, 95.42),
    ),
    ("GoogLeNet-GAP", GAP): (51.31, 66.61, 88.30, 92.21, 91.98, 78.07, 70.62, 95.00),
}
"""Accuracy in percent on each of ``SETS``, by the row and our network in it."""

_PER_SET = ("", "paper", "95% low", "95% high", "std", "n", "settings", "run")


def _table5(svms: Sequence[Svm]) -> Sheet:
    header = ["features"]
    for title in SETS.values():
        header += [f"{title} {part}".strip() for part in _PER_SET]
    rows, found_any = [], False
    cells: dict[tuple[str, str], tuple[str, str]] = {}
    for (name, model), papers in TABLE5.items():
        line = [name]
        for data, paper in zip(SETS, papers, strict=True):
            svm = _newest([svm for svm in svms if svm.parted == data], model, FULL)
            found_any = found_any or svm is not None
            line += _of_set(svm, f"{paper:.2f}")
            ours = "" if svm is None else f"{svm.accuracy} {svm.spread}"
            cells[name, data] = ours, f"{paper:.2f}"
        rows.append(line)
    caption = (
        "**Table 5: generic features (accuracy, %)**: a linear SVM on features of each network. ±: "
        "the farther end of the 95 % bootstrap interval over images; sd: standard deviation over "
        "repeats. Settings that are not the default are in the CSV."
    )
    head = ["data set", *(part for name, _ in TABLE5 for part in (name, "paper"))]
    body = [
        [title, *(part for name, _ in TABLE5 for part in cells[name, data])]
        for data, title in SETS.items()
    ]
    text = f"{paragraph(caption)}\n\n{grid(head, body, left=1)}\n"
    return Sheet("table5", header, rows, text, is_empty=not found_any)


def _of_set(svm: Svm | None, paper: str) -> list[str]:
    """Give the cells of ``_PER_SET``."""
    if svm is None:
        return ["", paper, *[""] * (len(_PER_SET) - 2)]
    n_test = str(svm.manifest.accuracy.n_test)
    return [
        *(svm.accuracy, paper, *svm.ends, svm.std, n_test),
        *(" ".join(svm.settings), svm.name),
    ]


# --- all SVMs ------------------------------------------------------------------------------------

_HEADER_ALL = (
    *("data", "parted", "network", "seen", "accuracy", "95% low", "95% high", "std"),
    *("mean over classes", "boxes right", "classes", "n train", "n test", "settings", "seconds"),
    "run",
)


def _all(svms: Sequence[Svm]) -> Sheet:
    """Make the table of all SVMs, also of those in no table of the paper."""
    rows, body, notes = [], [], Footnotes()
    for svm in sorted(svms, key=lambda svm: (svm.manifest.data, svm.manifest.row, svm.name)):
        manifest = svm.manifest
        accuracy = manifest.accuracy
        first = [manifest.data, manifest.parted, manifest.row, svm.seen]
        counts = [accuracy.n_classes, accuracy.n_train, accuracy.n_test]
        rows.append(
            [
                *(*first, svm.accuracy, *svm.ends, svm.std, f"{accuracy.class_mean:.2f}"),
                *(_right(svm), *map(str, counts), " ".join(svm.settings)),
                *(f"{manifest.seconds:.1f}", svm.name),
            ]
        )
        where = "" if svm.parted == manifest.data else f" {svm.parted}"
        named = manifest.data + where + notes.mark(svm.settings)
        body.append([named, manifest.row, svm.seen, svm.accuracy, svm.spread, str(counts[2])])
    caption = (
        "**Linear SVMs on features (accuracy, %)**: all that were trained here, with the split or "
        "partition that they were tested on. ±, sd: as in Table 5."
    )
    head = ["data", "network", "seen", "accuracy", "", "n"]
    text = f"{paragraph(caption)}\n\n{grid(head, body, left=3)}\n{notes.text()}"
    return Sheet("generic", list(_HEADER_ALL), rows, text)
