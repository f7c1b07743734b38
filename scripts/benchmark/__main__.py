"""Compare each stage of cam_repro with its floor, and cam_repro with other programs.

scripts/benchmark.sh installs those programs and runs this; to run it alone: python
scripts/benchmark.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import check
import groups
import scale
import torch
from common import INT8, Bench, Mode, Network
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from report import Report, Results, about, default_path, say
from tqdm import tqdm

from cam_repro.cli.messages import fail, one_line
from cam_repro.data.demo.source import Demo
from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.engine.compute import Compute
from cam_repro.engine.hardware import pick_device, pick_precision
from cam_repro.errors import UserError

OF_NETWORKS = {
    "evaluation": groups.evaluation,
    "training": groups.training,
    "boxes": groups.boxes,
    "protocols": groups.protocols,
    "loading": groups.loading,
    "methods": groups.methods,
}
GROUPS = (*OF_NETWORKS, "scoring")
SCALE = "scale"
"""A group of its own, not measured by default: it has another table, and takes long."""


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="benchmark.sh",
        description="Ratios of times: each stage of cam_repro against the least that it could "
        "take, and evaluation against torch-cam, pytorch-grad-cam and the one-image recipe.",
        epilog="OMP_NUM_THREADS sets the threads. Run nothing else on the machine meanwhile.",
    )
    add = parser.add_argument
    add("--data", type=Path, help="folder of a data set (its val split); default: the built-in set")
    add("--images", type=int, help="how many; a small set is repeated; default: 64, on a GPU 2048")
    add("--networks", nargs="+", help="default: resnet18 vgg_gap, on a GPU googlenet_gap too")
    add("--weights", help="of the network (one of --networks then); default: random")
    add("--groups", nargs="+", choices=(*GROUPS, SCALE), default=GROUPS, help="what to measure")
    add("--rounds", type=int, help="default: 3 (quick: 2)")
    add("--batch", type=int, help="images at a time; default: 16, on a GPU 64")
    add("--train-batch", type=int, help="default: 8, on a GPU 64")
    add("--workers", type=int, help="processes that load images; default: what cam-eval takes")
    words = "default: fp32, bf16 (quick: fp32); int8 with --check alone"
    add("--precisions", nargs="+", choices=("fp32", "bf16", INT8), help=words)
    add("--no-compile", action="store_true", help="leave out torch.compile")
    add("--no-rivals", action="store_true", help="leave other programs out")
    add("--set", nargs="+", default=(), metavar="KEY=VALUE", help="cam-eval's: model.width=0.5")
    add("--device", default="auto", help="auto, cpu or cuda")
    add("--quick", action="store_true", help="to try it: few images and rounds, ResNet-18, fp32")
    add("--check", action="store_true", help="compare boxes, not times (use --weights)")
    add("--output", type=Path, help="the CSV; default: results/benchmarks/<data>-<hardware>.csv")
    return parser.parse_args()


def bench_of(args: argparse.Namespace, folder: Path) -> Bench:
    """Make the settings of the benchmark from the command line. folder: a temporary one."""
    device = pick_device(args.device)
    on_gpu, quick = device.type == "cuda", args.quick
    images = load_image_set(args.data, "val") if args.data else Demo().open("val")
    n_images = len(images) if args.check else 24 if quick else 2048 if on_gpu else 64
    precisions = args.precisions or (("fp32",) if quick else ("fp32", "bf16"))
    if INT8 in precisions and (not args.check or on_gpu):
        raise UserError("--precisions int8: only with --check, and on a CPU")
    modes = [Mode(precision, False) for precision in precisions]
    if not args.no_compile:
        compiled = [Mode(p, True) for p in precisions if p != INT8]
        modes = sorted([*modes, *compiled], key=lambda mode: precisions.index(mode.precision))
    automatic = Mode(pick_precision("auto", device), False)
    usual = automatic if automatic in modes else modes[0]
    return Bench(
        source=images,
        n_images=args.images or n_images,
        device=device,
        rounds=args.rounds or (2 if quick else 3),
        batch=args.batch or (64 if on_gpu else 8 if quick else 16),
        train_batch=args.train_batch or (64 if on_gpu else 4 if quick else 8),
        # Batches loaded in advance would make a GPU look faster: they are used up, uncounted.
        train_steps=200 if on_gpu else 2,
        train_skip=100 if on_gpu else 1,
        workers=Compute(device).loader_workers(args.workers),
        modes=tuple(modes),
        usual=usual,
        rivals=not args.no_rivals,
        overrides=tuple(args.set),
        weights=args.weights,
        boxed=4 if quick else 16,
        scored=5_000 if quick else 50_000,
        folder=folder,
    )


def run(args: argparse.Namespace, bench: Bench) -> None:
    """Measure all networks, or with ``--check`` compare their boxes; write the results."""
    networks = ["resnet18"] if args.quick else ["resnet18", "vgg_gap"]
    if bench.on_gpu and not args.quick:
        networks.append("googlenet_gap")
    networks = args.networks or networks
    if SCALE in args.groups:
        _measure_scale(args, bench)
        return
    if args.weights and len(networks) > 1:
        raise UserError("--weights are of one network: name it with --networks")
    built = [bench.network(name) for name in networks]  # first, so that a failure leaves no file
    facts = about(bench, args)
    kind = "check" if args.check else "quick" if args.quick else ""
    results = Results(args.output or default_path(facts, kind), facts)
    say(facts)
    if args.check:
        check.write(results, [row for network in built for row in check.compare(bench, network)])
    else:
        measure(args, bench, built, Report(results))
    print(f"\n{results.path}")


def _measure_scale(args: argparse.Namespace, bench: Bench) -> None:
    """Measure how seconds and memory grow; write the results."""
    if args.groups != [SCALE]:
        raise UserError(f"--groups {SCALE}: is measured alone")
    facts = about(bench, args)
    results = Results(args.output or default_path(facts, SCALE), facts)
    say(facts)
    scale.measure(bench, results, args.quick)
    print(f"\n{results.path}")


def measure(
    args: argparse.Namespace, bench: Bench, networks: list[Network], report: Report
) -> None:
    """Measure the groups that were asked for."""
    for network in networks:
        for group, function in OF_NETWORKS.items():
            if group in args.groups:
                function(bench, network, report)
    if "scoring" in args.groups:
        groups.scoring(bench, report)


def silence_progress_bars() -> None:
    """Turn off the loops' progress bars, which no setting does: they would mix with the table."""
    make = tqdm.__init__

    def disabled(bar: tqdm, *args: Any, **options: Any) -> None:
        make(bar, *args, **{**options, "disable": True})

    tqdm.__init__ = disabled  # type: ignore[assignment, method-assign]


def main() -> None:
    """Run the benchmark of the command line."""
    args = arguments()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    silence_progress_bars()
    # Fail rather than report an uncompiled network as compiled.
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    torch.backends.cudnn.allow_tf32 = False  # fp32 is fp32, for all programs alike
    try:
        with tempfile.TemporaryDirectory(prefix="cam_repro-benchmark-") as folder:
            # The first turn must compile, not use what an earlier run compiled.
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(folder) / "inductor")
            run(args, bench_of(args, Path(folder)))
    except (UserError, HydraException, OmegaConfBaseException) as error:
        fail(one_line(error) or str(error))


if __name__ == "__main__":
    main()
