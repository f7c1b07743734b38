import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from colour_net import BLUE, GREEN, RED, ColourNet, blocks
from packed_helpers import pack_them

from cam_repro.boxes.cues import CueRule
from cam_repro.boxes.threshold import ThresholdBox
from cam_repro.data.packed.read import load_packed_set
from cam_repro.data.settings import LoaderSettings
from cam_repro.data.views import Squash
from cam_repro.engine.compute import Compute
from cam_repro.engine.cues import check_cues, make_cues
from cam_repro.engine.evaluate import Pass
from cam_repro.errors import UserError
from cam_repro.runs.cues import open_cues
from cam_repro.saliency.cam import Cam
from cam_repro.truth import LabelSets

COMPUTE = Compute(torch.device("cpu"), memory_format=torch.contiguous_format)
LOADING = LoaderSettings(workers=0)


@pytest.fixture
def halves(image_set):
    """Images of 32 x 16, red on the left; on the right blue, green that is not named, nothing."""
    images = image_set(
        {
            "blue": (
                blocks(16, 32, (RED, 0, 0, 15, 15), (BLUE, 16, 0, 31, 15)),
                RED,
                (0, 0, 15, 15),
            ),
            "green": (
                blocks(16, 32, (RED, 0, 0, 15, 15), (GREEN, 16, 0, 31, 15)),
                RED,
                (0, 0, 1, 1),
            ),
            "nothing": (blocks(16, 32, (RED, 0, 0, 15, 15)), RED, (0, 0, 15, 15)),
        }
    )
    return replace(images, label_sets=LabelSets.from_lists([[RED, BLUE], [RED], [RED, BLUE]]))


def test_literal(halves, tmp_path):
    """Maps are of 4 x 4 cells of the squashed image, 1 where the colour is: the halves are cued.

    Bilinear enlarging smears the border between cells: the column 2 columns beyond it is 3 / 16.
    """
    rule = CueRule(conflicts="highest")
    this_pass = Pass(ColourNet(), Cam(), Squash(32, 32), {"t": ThresholdBox()}, 16, cues=rule)
    assert make_cues(this_pass, halves, LOADING, COMPUTE, tmp_path) == 3
    blue, green, nothing = open_cues(tmp_path, halves.ids)
    assert blue.values_R.tolist() == [RED + 1, BLUE + 1]
    assert blue.maps_Rhw.tolist() == [[[1, 1, 0, 0]] * 4, [[0, 0, 1, 1]] * 4]
    assert blue.cues_HW.tolist() == [[RED + 1] * 16 + [BLUE + 1] * 16] * 16
    assert green.values_R.tolist() == [RED + 1]
    assert green.cues_HW.tolist() == [[RED + 1] * 18 + [255] * 14] * 16
    assert nothing.maps_Rhw[1].tolist() == [[0] * 4] * 4
    assert nothing.cues_HW.tolist() == green.cues_HW.tolist()
    data = pickle.loads((tmp_path / "localization_cues.pickle").read_bytes())
    assert data["0_labels"] == [RED + 1, BLUE + 1]
    small_SS = np.zeros((41, 41), int)
    values, rows, columns = data["0_cues"]
    small_SS[rows, columns] = values
    assert (small_SS == RED + 1).sum() + (small_SS == BLUE + 1).sum() == 41 * 41
    assert (small_SS[:, :20] == RED + 1).all()
    assert (small_SS[:, 21:] == BLUE + 1).all()
    lines = (tmp_path / "input_list.txt").read_text()
    assert lines == "blue.JPEG 0\ngreen.JPEG 1\nnothing.JPEG 2\n"


def test_in_a_packed_set_images_are_listed_by_their_ids(halves, tmp_path):
    """A file there, of which the path is, holds many images."""
    packed = load_packed_set(pack_them(tmp_path / "packed", halves), halves.split)
    rules = {"t": ThresholdBox()}
    this_pass = Pass(ColourNet(), Cam(), Squash(32, 32), rules, 16, cues=CueRule())
    assert make_cues(this_pass, packed, LOADING, COMPUTE, tmp_path / "cues") == 3
    lines = (tmp_path / "cues" / "input_list.txt").read_text()
    assert lines == "blue 0\ngreen 1\nnothing 2\n"


def test_images_without_a_known_class_are_refused_before_work(halves, tmp_path):
    unknown = replace(halves, label_sets=LabelSets.from_lists([[RED], [], [RED]]))
    with pytest.raises(UserError, match="cues: the true class of green is not known"):
        check_cues(unknown, tmp_path)
    check_cues(halves, tmp_path)
    check_cues(replace(halves, label_sets=None), tmp_path)


def test_more_classes_than_a_byte_can_name(halves, tmp_path):
    wnids = tuple(f"n{number:08d}" for number in range(255))
    many = replace(halves.classes, wnids=wnids, names=wnids)
    with pytest.raises(UserError, match="has 255 classes, and files of cues have room for 254"):
        check_cues(replace(halves, classes=many), tmp_path)
