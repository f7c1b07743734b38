"""Compare the maps of our saliency methods with those of captum, pytorch-grad-cam and torch-cam.

    python scripts/compare_methods.py DATA SQUEEZENET_WEIGHTS

DATA is a folder of ILSVRC's images. The networks are EfficientNet-Lite0 with its packaged weights
and SqueezeNet with those of a file; the classes are the two best of each image. The CSV has the
largest difference of two values of a map, as a share of the map's largest value. Status 1 says that
a method which both make by the paper differs by more than 1e-5.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent / "benchmark"))
from libraries import Place, Theirs, methods

from cam_repro import load_network
from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.data.views import Squash
from cam_repro.files import atomic_path
from cam_repro.saliency.backprop import Backprop
from cam_repro.saliency.base import Saliency
from cam_repro.saliency.build import build_saliency
from cam_repro.saliency.guided_backprop import GuidedBackprop

TOLERANCE = 1e-5
RESULTS = Path(__file__).parents[1] / "results" / "methods" / "agreement.csv"
COLUMNS = ("network", "method", "library", "their_name", "images", "difference", "exception")

WHY = {
    ("gradcam_pp", "pytorch-grad-cam"): "adds 1e-6 to a denominator that may be as small",
    ("gradcam_pp", "torch-cam"): "alpha is never divided: its division is of a copy",
    ("eigencam", "pytorch-grad-cam"): "activations are centred first, as the paper's are not",
    ("scorecam", "pytorch-grad-cam"): "enlarges with corners aligned",
    ("scorecam", "torch-cam"): "scales to 0..1 before it enlarges, not after",
}
"""Why a library differs, by method and library; docs/methods.md says more."""

WHY_OF_NETWORK = {
    ("efficientnet_lite0", "guided_backprop"): "guides ReLU alone, not ReLU6",
    ("efficientnet_lite0", "guided_gradcam"): "guides ReLU alone, not ReLU6",
    ("squeezenet", "cam"): "maps before the class layer's bias and ReLU",
}
"""Why all libraries differ on a network, by network and method."""


def places(weights: str) -> dict[str, tuple[Place, int]]:
    """Load both networks; with the side of their input, pixels."""
    lite = load_network("efficientnet_lite0").network.eval()
    squeezenet = load_network("squeezenet", weights=weights).network.eval()
    return {
        "efficientnet_lite0": (Place(lite, "body.bn2", "body.classifier", "body.bn2"), 224),
        "squeezenet": (
            Place(squeezenet, "classifier.2", "classifier.1", "features.12"),
            227,
        ),
    }


def read(folder: Path, count: int, side: int) -> Tensor:
    """Read the first images of a data set, squashed to the network's input: uint8 (N,3,H,W)."""
    images, squash = load_image_set(folder, "val"), Squash(side, side)
    crops = [squash.crops(images.read(row)[0])[0] for row in range(count)]
    return torch.stack([torch.tensor(crop_HW3).permute(2, 0, 1) for crop_HW3 in crops])


def ours(method: str) -> Saliency:
    """Build our method, without the smoothing of gradients, which the libraries do not have."""
    built = build_saliency(method)
    if isinstance(built, Backprop | GuidedBackprop):
        built.blur = 0
    return built


def difference(place: Place, theirs: Theirs, x_NCHW: Tensor) -> float:
    """Find the largest difference over images and their two best classes."""
    assert theirs.maps is not None
    method, network = ours(theirs.method), place.network
    with torch.no_grad():
        classes_NR = network(x_NCHW).topk(2).indices
    largest = 0.0
    for x_1CHW, classes_1R in zip(x_NCHW.split(1), classes_NR.split(1), strict=True):
        maps_Rhw = method(network, x_1CHW, classes_1R)[0]
        for map_hw, each in zip(maps_Rhw, classes_1R[0].tolist(), strict=True):
            their_hw = theirs.maps(place, x_1CHW.clone(), [[each]])[0][0]
            peak = max(map_hw.abs().max().item(), their_hw.abs().max().item())
            if peak:
                largest = max(largest, (map_hw - their_hw).abs().max().item() / peak)
    return largest


def compare(args: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Compare every method of every library on both networks; yield the rows of the CSV."""
    for name, (place, side) in places(args.weights).items():
        x_NCHW = place.network.normalize(read(args.data, args.images, side))
        for theirs in methods():
            count = args.images
            if theirs.method in ("scorecam", "occlusion"):
                count = min(args.masked, count)
            if not count:
                continue
            why = WHY_OF_NETWORK.get((name, theirs.method)) or WHY.get(
                (theirs.method, theirs.library), ""
            )
            row = {"network": name, "method": theirs.method, "library": theirs.library}
            row |= {"their_name": theirs.name, "images": count, "exception": why}
            if theirs.maps is None:
                yield {**row, "difference": "", "exception": "not installed"}
            else:
                yield {**row, "difference": f"{difference(place, theirs, x_NCHW[:count]):.1e}"}


def main() -> None:
    """Compare, print the rows and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of ILSVRC's images (its val split)")
    parser.add_argument("weights", help="file of SqueezeNet's weights")
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--masked", type=int, default=2, help="of them for Score-CAM and occlusion")
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    rows = []
    for row in compare(args):
        rows.append(row)
        print("{network:<19} {method:<16} {library:<17} {difference:>8}  {exception}".format(**row))
    with atomic_path(args.output) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    odd = [row for row in rows if not row["exception"] and float(row["difference"]) > TOLERANCE]
    if odd:
        sys.exit(f"{len(odd)} methods differ by more than {TOLERANCE} and should not")


if __name__ == "__main__":
    main()
