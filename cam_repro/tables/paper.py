"""Hold tables of papers: their numbers, their rows in order, and our run for each row.

Tables 1 to 3 are of Zhou, Khosla, Lapedriza, Oliva, Torralba, "Learning Deep Features for
Discriminative Localization", CVPR 2016, which is "the paper". ``GRADCAM`` is Table 1 of Selvaraju
et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV
2017. All numbers are errors in percent.
"""

from __future__ import annotations

from dataclasses import dataclass

from cam_repro.runs.folders import DEFAULT_VARIANT, run_name


@dataclass(frozen=True)
class WantedRun:
    """Name the run that fills a row: a network, a saliency method and, for boxes, a box rule.

    Here as the paper describes it; sources.py turns it into what the authors' code does.
    """

    model: str
    saliency: str
    rule: str | None = None
    variant: str = DEFAULT_VARIANT

    @property
    def run_name(self) -> str:
        """The name of its network, as manifests and folders have it."""
        return run_name({"name": self.model, "variant": self.variant})


@dataclass(frozen=True)
class Row:
    """Hold one row of a table.

    paper: its numbers, one a column. wanted: the runs that may fill it, best first; none where the
    paper cites the number of a network that nothing here trains.
    """

    name: str
    paper: tuple[float, ...]
    wanted: tuple[WantedRun, ...] = ()
    supervision: str = ""
    note: str = ""


@dataclass(frozen=True)
class PaperTable:
    """Hold one table of the paper.

    stem: name of its file. header: its first columns, as the paper writes them.
    columns: the columns with numbers, ``top1`` or ``top5``; where a table has localization and
    classification, ``loc_top1``, ``cls_top1`` and so on. paper_split: the ILSVRC split that the
    paper's numbers are of. splits: the splits that our numbers may be of, best first.
    caption: a box rule's name in braces is replaced by the rule that the source uses for it.
    """

    stem: str
    title: str
    header: tuple[str, ...]
    columns: tuple[str, ...]
    paper_split: str
    splits: tuple[str, ...]
    rows: tuple[Row, ...]
    caption: str = ""


def _cls(name: str, model: str, top1: float, top5: float) -> Row:
    # The saliency method does not change the classes; a network without CAM was run with Backprop.
    return Row(name, (top1, top5), (WantedRun(model, "cam"), WantedRun(model, "backprop")))


def _loc(name: str, model: str, top1: float, top5: float, saliency: str = "cam") -> Row:
    return Row(name, (top1, top5), (WantedRun(model, saliency, "threshold"),))


TABLE1 = PaperTable(
    stem="table1",
    title="Table 1. Classification error",
    header=("Networks", "top-1 val. error", "top-5 val. error"),
    columns=("top1", "top5"),
    paper_split="val",
    splits=("val",),
    rows=(
        _cls("VGGnet-GAP", "vgg_gap", 33.4, 12.2),
        _cls("GoogLeNet-GAP", "googlenet_gap", 35.0, 13.2),
        _cls("AlexNet*-GAP", "alexnet_star_gap", 44.9, 20.9),
        _cls("AlexNet-GAP", "alexnet_gap", 51.1, 26.3),
        _cls("GoogLeNet", "googlenet", 31.9, 11.3),
        _cls("VGGnet", "vgg", 31.2, 11.4),
        _cls("AlexNet", "alexnet", 42.6, 19.5),
        _cls("NIN", "nin", 41.9, 19.6),
        _cls("GoogLeNet-GMP", "googlenet_gmp", 35.6, 13.9),
    ),
)

TABLE2 = PaperTable(
    stem="table2",
    title="Table 2. Localization error",
    header=("Method", "top-1 val.error", "top-5 val. error"),
    columns=("top1", "top5"),
    paper_split="val",
    splits=("val",),
    rows=(
        _loc("GoogLeNet-GAP", "googlenet_gap", 56.40, 43.00),
        _loc("VGGnet-GAP", "vgg_gap", 57.20, 45.14),
        _loc("GoogLeNet", "googlenet", 60.09, 49.34),
        _loc("AlexNet*-GAP", "alexnet_star_gap", 63.75, 49.53),
        _loc("AlexNet-GAP", "alexnet_gap", 67.19, 52.16),
        _loc("NIN", "nin", 65.47, 54.19),
        _loc("Backprop on GoogLeNet", "googlenet", 61.31, 50.55, "backprop"),
        _loc("Backprop on VGGnet", "vgg", 61.12, 51.46, "backprop"),
        _loc("Backprop on AlexNet", "alexnet", 65.17, 52.64, "backprop"),
        _loc("GoogLeNet-GMP", "googlenet_gmp", 57.78, 45.26),
    ),
    caption="Box rule: `{threshold}`.",
)

_BACKPROP_NOTE = "our vgg network; the paper's number is of Simonyan et al.'s own network"
_CITATION_NOTE = "cited by the paper; fully supervised; nothing here trains it"

TABLE3 = PaperTable(
    stem="table3",
    title="Table 3. Localization error, weak and full supervision",
    header=("Method", "supervision", "top-5 test error"),
    columns=("top5",),
    paper_split="test",
    splits=("test", "val"),
    rows=(
        Row(
            "GoogLeNet-GAP (heuristics)",
            (37.1,),
            (WantedRun("googlenet_gap", "cam", "heuristic"),),
            "weakly",
        ),
        Row("GoogLeNet-GAP", (42.9,), (WantedRun("googlenet_gap", "cam", "threshold"),), "weakly"),
        Row(
            "Backprop",
            (46.4,),
            (WantedRun("vgg", "backprop", "threshold"),),
            "weakly",
            _BACKPROP_NOTE,
        ),
        Row("GoogLeNet", (26.7,), (), "full", _CITATION_NOTE),
        Row("OverFeat", (29.9,), (), "full", _CITATION_NOTE),
        Row("AlexNet", (34.2,), (), "full", _CITATION_NOTE),
    ),
    caption=(
        "Box rule: `{heuristic}` where the row says heuristics, else `{threshold}`. "
        "Backprop: our `vgg` network, where the paper cites Simonyan et al.'s own. "
        "The rows with full supervision are citations; nothing here trains them."
    ),
)

TABLES = (TABLE1, TABLE2, TABLE3)

_CLS_OF_VGG = (30.38, 10.89)

GRADCAM = PaperTable(
    stem="table_gradcam",
    title="Table 1 of Grad-CAM (Selvaraju et al., ICCV 2017)",
    header=("Method", "loc top-1", "loc top-5", "cls top-1", "cls top-5"),
    columns=("loc_top1", "loc_top5", "cls_top1", "cls_top5"),
    paper_split="val",
    splits=("val",),
    rows=(
        Row(
            "Backprop on VGG-16",
            (61.12, 51.46, *_CLS_OF_VGG),
            (WantedRun("vgg", "backprop", "threshold"),),
            note="box=threshold; its localization is that of Table 2",
        ),
        Row(
            "c-MWP on VGG-16",
            (70.92, 63.04, *_CLS_OF_VGG),
            (WantedRun("vgg", "cmwp", "threshold"),),
            note="box=threshold is our reading: the source does not say how boxes were made",
        ),
        Row(
            "Grad-CAM on VGG-16",
            (56.51, 46.41, *_CLS_OF_VGG),
            (WantedRun("vgg", "gradcam", "gradcam"),),
            note="box=gradcam",
        ),
        Row(
            "CAM on VGG-16-GAP",
            (57.20, 45.14, 33.40, 12.20),
            (WantedRun("vgg_gap", "cam", "threshold"),),
            note="box=threshold; the numbers are those of Tables 1 and 2",
        ),
    ),
    caption=(
        "Boxes: of Grad-CAM by `gradcam`, as its paper says, of the others by `threshold`. How "
        "boxes were made of c-MWP's maps it does not say: `threshold` is our reading, and "
        "figure=threshold draws the error at every threshold."
    ),
)


def runs_of_the_tables() -> list[tuple[str, str]]:
    """List the (model, saliency) of every run that Tables 2 and 3 want, in their order, each once.

    Table 1 wants no others: a network's classes do not depend on the saliency method.
    """
    wanted = [
        (run.model, run.saliency)
        for table in (TABLE2, TABLE3)
        for row in table.rows
        for run in row.wanted
    ]
    return list(dict.fromkeys(wanted))
