"""Maps of the built-in set are right, not only unchanged: its masks tell where the objects are."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, one_hot, pad

from cam_repro.data.demo.draw import CLASSES, draw
from cam_repro.data.demo.tree import make_demo
from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.metrics.energy_in_box import EnergyInBox
from cam_repro.metrics.localization import Localization
from cam_repro.metrics.pointing_game import PointingGame, peak
from cam_repro.models.base import PooledNetwork
from cam_repro.saliency.cam import Cam

# --- maps that are the masks


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    """The val images of a small built-in set, and the mask of each from its file, 0 or 1."""
    root = tmp_path_factory.mktemp("demo") / "tree"
    make_demo(root, progress=False, n_train=1, n_val=48, n_test=1)
    images = load_image_set(root, "val")
    files = [root / "Masks" / "CLS-LOC" / "val" / f"{name}.png" for name in images.ids]
    return images, [np.asarray(Image.open(file), np.float32) / 255 for file in files]


def test_a_map_that_is_the_mask_is_right_by_every_protocol(masked):
    truth, masks = masked
    pointing = PointingGame(tolerance=0).score(truth, masks).numbers
    assert pointing["pointing_game"]["all"] == 100
    assert pointing["center"]["all"] < 90
    assert EnergyInBox().score(truth, masks).numbers["energy_in_box"] == 100
    localized = Localization(ious=[0.3, 0.5, 0.7, 1]).score(truth, masks).numbers
    assert set(localized["gt_known"].values()) == {100}


def test_a_map_that_is_all_but_the_mask_is_wrong(masked):
    truth, masks = masked
    opposite = [1 - mask_HW for mask_HW in masks]
    energy = EnergyInBox().score(truth, opposite).numbers
    assert energy["energy_in_box"] < energy["boxes_cover"] / 2
    assert Localization().score(truth, opposite).numbers["gt_known"]["0.7"] == 0


# --- CAM of a network that has learned the classes alone


class Patches(PooledNetwork):
    """Compare an image with patches of training images, and pool: a network that needs no steps."""

    minimum_input = 16
    class_layer_name = "fc"

    def __init__(self, patches_Khw):
        super().__init__(len(CLASSES), 1.0, "none", 0.0)
        self.patches = nn.Parameter(torch.from_numpy(patches_Khw)[:, None])
        self.fc = nn.Linear(len(patches_Khw), len(CLASSES))
        self.pixel_mean.zero_()
        self.pixel_std.fill_(1)

    def _extract(self, x_NCHW):
        grey_N1HW = x_NCHW.mean(1, keepdim=True)
        side = self.patches.shape[-1]
        local_N1HW = avg_pool2d(grey_N1HW, side, 1, side // 2, count_include_pad=False)
        edges_N1HW = pad(grey_N1HW - local_N1HW, [side // 2] * 4, mode="reflect")
        return avg_pool2d((conv2d(edges_N1HW, self.patches) - 0.4).relu(), 8)

    @torch.no_grad()
    def fit(self, x_NCHW, labels_N):
        """Solve for the class layer: ridge regression of the labels on the pooled maps."""
        F_NK = self.forward_features(x_NCHW).mean((2, 3))
        mean_K, std_K = F_NK.mean(0), F_NK.std(0)
        F_NK = (F_NK - mean_K) / std_K
        Y_NC = one_hot(labels_N, len(CLASSES)) - 1 / len(CLASSES)
        w_KC = torch.linalg.solve(F_NK.T @ F_NK + 30 * torch.eye(len(mean_K)), F_NK.T @ Y_NC)
        self.fc.weight.copy_((w_KC / std_K[:, None]).T)
        self.fc.bias.copy_(-self.fc.weight @ mean_K)


SIDE, PATCH, N_PATCHES = 64, 9, 96


def drawn(split, count):
    """Drawings in colour, and as input of the network."""
    drawings = [each for each in (draw(split, i) for i in range(count)) if each.mode == "RGB"]
    small = [
        cv2.resize(each.pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for each in drawings
    ]
    x_NCHW = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2)
    return drawings, x_NCHW, torch.tensor([each.label for each in drawings])


def test_cam_points_at_the_object_that_the_network_was_never_shown():
    """Labels alone teach 12 textured shapes; the mask tells whether CAM finds them."""
    rng = np.random.default_rng(0)
    _, crops_N3HW, labels_N = drawn("train", 360)
    patches = []
    for image in rng.integers(0, len(crops_N3HW), N_PATCHES):
        y, x = rng.integers(0, SIDE - PATCH, 2)
        patch = crops_N3HW[image].float().mean(0)[y : y + PATCH, x : x + PATCH].numpy()
        patch -= patch.mean()
        patches.append(patch / np.linalg.norm(patch))
    network = Patches(np.stack(patches))
    network.fit(network.normalize(crops_N3HW), labels_N)

    drawings, crops_N3HW, labels_N = drawn("val", 120)
    x_NCHW = network.normalize(crops_N3HW)
    with torch.no_grad():
        right = (network(x_NCHW).argmax(1) == labels_N).float().mean().item()
    assert right > 0.25  # chance is 1/12
    maps_Nhw = Cam()(network, x_NCHW, labels_N[:, None])[:, 0].numpy()

    in_mask = in_middle = 0
    energy, covered = [], []
    for drawing, map_hw in zip(drawings, maps_Nhw, strict=True):
        mask_HW = np.any(drawing.masks, axis=0)
        height, width = mask_HW.shape
        map_HW = cv2.resize(map_hw, (width, height))
        x, y = peak(map_HW)
        in_mask += mask_HW[y, x]
        in_middle += mask_HW[height // 2, width // 2]
        positive_HW = np.maximum(map_HW, 0)
        energy.append(positive_HW[mask_HW].sum() / positive_HW.sum())
        covered.append(mask_HW.mean())
    assert in_mask > in_middle
    assert np.mean(energy) > 2 * np.mean(covered)
