"""Tables 1 to 3 of the paper as data: its numbers, rows and their order, and our run for each.

Zhou, Khosla, Lapedriza, Oliva, Torralba, "Learning Deep Features for Discriminative
Localization", CVPR 2016. All numbers are errors in percent.
"""

from __future__ import annotations

from dataclasses import dataclass

from cam_repro.runs.folders import DEFAULT_VARIANT


@dataclass(frozen=True)
class Source:
    """Which scored run fills a row: a model, a saliency method and, for boxes, a rule.

    Here as the paper's text has it; readings.py turns it into what the authors' code does.
    """

    model: str
    saliency: str
    rule: str | None = None
    variant: str = DEFAULT_VARIANT


@dataclass(frozen=True)
class Row:
    """One row. ``paper``: its numbers, one a column. ``sources``: the first that was run fills it;
    a row without sources is a citation that nothing here trains."""

    name: str
    paper: tuple[float, ...]
    sources: tuple[Source, ...] = ()
    supervision: str = ""
    note: str = ""


@dataclass(frozen=True)
class PaperTable:
    """One table.

    stem: file name. header: its first columns, as the paper writes them.
    columns: ``top1``/``top5``, the columns with numbers. paper_split: the ILSVRC split that the
    paper's numbers are of; splits: ours, in order of preference. caption: names of rules
    in braces become those of the reading.
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
    # Saliency does not change a network's classes: a network that has no CAM was run with Backprop.
    return Row(name, (top1, top5), (Source(model, "cam"), Source(model, "backprop")))


def _loc(name: str, model: str, top1: float, top5: float, saliency: str = "cam") -> Row:
    return Row(name, (top1, top5), (Source(model, saliency, "threshold"),))


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
    caption="Boxes by the `{threshold}` rule.",
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
            (Source("googlenet_gap", "cam", "heuristic"),),
            "weakly",
        ),
        Row("GoogLeNet-GAP", (42.9,), (Source("googlenet_gap", "cam", "threshold"),), "weakly"),
        Row(
            "Backprop", (46.4,), (Source("vgg", "backprop", "threshold"),), "weakly", _BACKPROP_NOTE
        ),
        Row("GoogLeNet", (26.7,), (), "full", _CITATION_NOTE),
        Row("OverFeat", (29.9,), (), "full", _CITATION_NOTE),
        Row("AlexNet", (34.2,), (), "full", _CITATION_NOTE),
    ),
    caption=(
        "Boxes by the `{heuristic}` rule where the row says heuristics, else `{threshold}`. "
        "Backprop: our `vgg` network, where the paper cites Simonyan et al.'s own. "
        "The rows with full supervision are citations; nothing here trains them."
    ),
)

TABLES = (TABLE1, TABLE2, TABLE3)


def runs_of_the_tables() -> list[tuple[str, str]]:
    """(model, saliency) of every run that Tables 2 and 3 want, in their order, each once.

    Table 1 wants no other: a network's classes do not depend on the saliency method.
    """
    wanted = [
        (source.model, source.saliency)
        for table in (TABLE2, TABLE3)
        for row in table.rows
        for source in row.sources
    ]
    return list(dict.fromkeys(wanted))
