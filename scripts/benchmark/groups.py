"""Measure the groups of the table, each with what it is compared with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import partial

import floors
import libraries
import ours
import rivals
import torch
from common import Bench, Mode, Network
from measure import Timing, Variant, alternate
from report import Report, Row

from cam_repro.engine.memory import freed_memory_kept
from cam_repro.metrics.max_box_acc import N_THRESHOLDS, SIZE, resized_boxes


def compilation(timings: Iterable[Timing]) -> list[str]:
    """Write notes on how long the first turns took, which compile and are not counted."""
    return [
        f"{timing.variant.name}: the first turn, which compiles, took {timing.first:.0f} s"
        for timing in timings
    ]


def evaluation(bench: Bench, network: Network, report: Report) -> None:
    """Measure bare forward passes, evaluation from files to boxes, and rivals, in turns."""
    usual, images, few = bench.usual, bench.images, bench.few_images
    own = partial(ours.evaluation, bench, network)
    by_mode = {mode: own(str(mode), mode, images) for mode in bench.modes}
    more = [
        own(f"{usual}, 4 box rules", usual, images, boxes=ours.BOXES_OF_MAPS),
        own(f"{usual}, 4 and graphcut", usual, few, boxes=ours.ALL_BOXES),
    ]
    ten = own(f"{usual}, ten crops", usual, few, ten_crops=True)
    packed = own(f"{usual}, packed at 256", usual, ours.packed(bench, 256))
    others, missing = [], {}
    if bench.rivals:
        others, missing = rivals.variants(bench, network), rivals.missing()

    with contextlib.ExitStack() as compiled:
        bare = {
            mode: floors.forward(bench, network, mode, torch.channels_last, compiled)
            for mode in bench.modes
        }
        plain = bench.modes[0]
        contiguous = floors.forward(bench, network, plain, torch.contiguous_format, compiled)
        every = [*by_mode.values(), *more, ten, packed, contiguous, *bare.values(), *others]
        time_of = alternate(every, bench.rounds, network.name)
    torch.compiler.reset()

    def row(variant: Variant, against: Variant, times: int = 1) -> Row:
        return Row(variant.name, time_of[variant.name], time_of[against.name], times)

    rows = [row(variant, contiguous) for variant in (contiguous, *bare.values())]
    report.add("forward", network.name, "forward pass of a batch in memory", rows)

    rows = [row(variant, bare[mode]) for mode, variant in by_mode.items()]
    rows += [row(variant, bare[usual]) for variant in more]
    rows += [row(ten, bare[usual], times=10), row(packed, by_mode[usual])]
    notes = ["images/s: " + ", ".join(f"{r.variant} {r.per_second:.4g}" for r in rows)]
    notes += compilation(time_of[v.name] for mode, v in by_mode.items() if mode.compile)
    title = f"evaluation, from {len(images)} files to boxes and their IoU"
    report.add("evaluation", network.name, title, rows, notes)
    if not bench.rivals:
        return

    torch_cams = [other for other in others if other.name.startswith("torch-cam")]
    reference = min(torch_cams, key=lambda other: time_of[other.name].ms, default=None)
    rows = [
        Row(
            variant.name,
            time_of[variant.name],
            time_of[reference.name] if reference else None,
            same_boxes=ours.found_by(variant).same_as(ours.found_by(by_mode[plain])),
        )
        for variant in (*others, *by_mode.values())
    ]
    same = ", ".join(f"{row.variant} {row.same_boxes:.1%}" for row in rows)
    rows += [Row(name, note=reason) for name, reason in missing.items()]
    title = "the same from the same files by other programs (in fp32)"
    notes = [f"guesses (class and box) that are those of {by_mode[plain].name}: {same}"]
    report.add("rivals", network.name, title, rows, notes)


def training(bench: Bench, network: Network, report: Report) -> None:
    """Measure training with images decoded on the fly, against the bare step."""
    kinds = [(mode, 1) for mode in bench.modes] + [(bench.usual, 2)]
    own = {kind: ours.training(bench, network, *kind) for kind in kinds}
    with contextlib.ExitStack() as compiled:
        bare = {kind: floors.train_step(bench, network, *kind, compiled) for kind in kinds}
        every = [*own.values(), *bare.values()]
        time_of = alternate(every, bench.rounds, f"{network.name} training")
    torch.compiler.reset()

    def row(variant: Variant, against: Variant) -> Row:
        return Row(variant.name, time_of[variant.name], time_of[against.name])

    first = bare[kinds[0]]
    rows = [row(variant, first) for variant in bare.values()]
    report.add("train step", network.name, "train step on a batch in memory", rows)
    rows = [row(variant, bare[kind]) for kind, variant in own.items()]
    speeds = [
        f"{r.variant} {r.per_second:.4g} ({1 / r.ratio:.2f} of the bare step's)"
        for r in rows
        if r.ratio
    ]
    notes = ["images/s: " + ", ".join(speeds)]
    notes += compilation(time_of[own[kind].name] for kind in kinds if kind[0].compile)
    report.add("training", network.name, "training, images decoded on the fly", rows, notes)


def loading(bench: Bench, network: Network, report: Report) -> None:
    """Measure reading, decoding and squashing in one process."""
    read_bytes, decode, squash = floors.reading(bench, network)
    every = [
        read_bytes,
        decode,
        squash,
        ours.reading("cam_repro", bench.images, network),
        ours.reading("cam_repro, packed at 256", ours.packed(bench, 256), network),
    ]
    time_of = alternate(every, bench.rounds, "loading")
    rows = [Row(v.name, time_of[v.name], time_of[squash.name]) for v in every]
    title = f"loading at {network.input_size} pixels in one process, files in the system's cache"
    report.add("loading", network.name, title, rows)


def boxes(bench: Bench, network: Network, report: Report) -> None:
    """Measure each box rule (five classes an image) and MaxBoxAcc (one map an image)."""
    maps = ours.class_maps(bench, network, min(bench.boxed, bench.n_images))

    def find_components() -> None:
        for of_image in maps:
            for map_hw in of_image.maps_Rhw:
                floors.component_box(map_hw, *of_image.size)

    def find_contours() -> None:
        for of_image in maps:
            true_M4 = resized_boxes(of_image.sample.boxes_M4, *of_image.size)
            floors.max_box_acc(of_image.maps_Rhw[0], true_M4, N_THRESHOLDS, SIZE)

    components = Variant("cv2 components", find_components, len(maps))
    rules = [ours.box_rule(name, maps) for name in ours.ALL_BOXES]
    one_by_one = Variant("MaxBoxAcc one by one", find_contours, len(maps))
    at_once = ours.max_box_acc(maps, N_THRESHOLDS)
    every = [components, *rules, one_by_one, at_once]
    with freed_memory_kept():  # as in cam-eval's loop
        time_of = alternate(every, bench.rounds, f"{network.name} boxes")

    pairs = [(variant, components) for variant in (components, *rules)]
    pairs += [(one_by_one, one_by_one), (at_once, one_by_one)]
    rows = [Row(v.name, time_of[v.name], time_of[against.name]) for v, against in pairs]
    height, width = maps[0].maps_Rhw.shape[1:]
    note = f"MaxBoxAcc: one map an image, {N_THRESHOLDS:,} thresholds"
    title = f"boxes of an image's {network.n_best} maps of {height}x{width}"
    report.add("boxes", network.name, title, rows, [note])


def protocols(bench: Bench, network: Network, report: Report) -> None:
    """Measure MaxBoxAccV2 and PxAP, one map an image, against the straightforward coding."""
    maps = ours.class_maps(bench, network, min(bench.boxed, bench.n_images))
    masks = ours.masks(maps)

    def find_all_contours() -> None:
        for of_image in maps:
            true_M4 = resized_boxes(of_image.sample.boxes_M4, *of_image.size)
            floors.max_box_acc(of_image.maps_Rhw[0], true_M4, N_THRESHOLDS, SIZE, True)

    def make_histograms() -> None:
        floors.pxap([of_image.maps_Rhw[0] for of_image in maps], masks)

    boxes_one_by_one = Variant("MaxBoxAccV2 one by one", find_all_contours, len(maps))
    pixels_one_by_one = Variant("PxAP by histograms", make_histograms, len(maps))
    pairs = [
        (boxes_one_by_one, boxes_one_by_one),
        (ours.max_box_acc(maps, N_THRESHOLDS, multi_contour=True), boxes_one_by_one),
        (pixels_one_by_one, pixels_one_by_one),
        (ours.pxap(maps, masks), pixels_one_by_one),
    ]
    with freed_memory_kept():  # as in cam-score
        time_of = alternate([v for v, _ in pairs], bench.rounds, f"{network.name} protocols")
    rows = [Row(v.name, time_of[v.name], time_of[against.name]) for v, against in pairs]
    seconds = time_of["PxAP"].ms * 5  # of 5,000 images
    note = f"PxAP of 5,000 images: {seconds:.1f} s, without reading maps and masks"
    height, width = maps[0].maps_Rhw.shape[1:]
    report.add("protocols", network.name, f"protocols of maps of {height}x{width}", rows, [note])


def methods(bench: Bench, network: Network, report: Report) -> None:
    """Measure saliency methods, ours and other libraries', on images in memory.

    Those that hide parts of an image get one image and one class, the others a batch and the best
    classes.
    """
    bare = floors.forward(
        *(bench, network, Mode("fp32", False), torch.channels_last, contextlib.ExitStack()),
        keep_memory=False,  # nor do the methods here, ours and theirs
    )
    lacking = libraries.missing()
    own = list(ours.methods(bench, network, without=("lime",) if "captum" in lacking else ()))
    theirs = list(rivals.methods(bench, network)) if bench.rivals else []
    time_of = alternate([bare, *own, *theirs], bench.rounds, f"{network.name} methods")
    rows = [Row(v.name, time_of[v.name], time_of[bare.name]) for v in (bare, *own, *theirs)]
    rows += [Row(name, note="not installed") for name in lacking if bench.rivals]
    title = f"maps of the {network.n_best} best classes, in fp32; ratio: in forward passes"
    report.add("methods", network.name, title, rows)


def scoring(bench: Bench, report: Report) -> None:
    """Measure ``cam-score``, and how much of its time is start-up."""
    start, whole = ours.scoring(bench, 5), ours.scoring(bench, bench.scored)
    start.images = whole.images  # so that start-up, too, is given per image of the whole
    time_of = alternate([start, whole], bench.rounds, "scoring")
    rows = [Row(v.name, time_of[v.name], time_of[start.name]) for v in (start, whole)]
    seconds, start_up = (time_of[v.name].ms * v.images / 1000 for v in (whole, start))
    note = f"{seconds:.2f} s, {seconds - start_up:.2f} s beyond start-up"
    report.add("scoring", "", "scoring five guesses an image in a process of its own", rows, [note])
