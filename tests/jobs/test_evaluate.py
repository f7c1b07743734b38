import json

import pandas as pd
import pytest
import torch

from cam_repro.engine import evaluate as engine
from cam_repro.errors import UserError
from cam_repro.jobs import evaluate as job
from cam_repro.jobs.evaluate import default_saliency, run_evaluation
from cam_repro.jobs.train import run_training
from cam_repro.models import build_model
from cam_repro.saliency.backprop import Backprop
from cam_repro.saliency.cam import Cam

torch.set_num_threads(1)


@pytest.fixture
def words(tiny_tree, tmp_path):
    return [
        *("data=ilsvrc", f"data.root={tiny_tree}", "data.workers=0", "device=cpu"),
        f"runs={tmp_path / 'runs'}",
    ]


@pytest.fixture
def trained(tiny_run, words, compose_config, tmp_path):
    """Trains one network for an iteration; returns the runs of its data set."""

    def train(model):
        more = [f"model={model}", "optim.iterations=1", "model.width=0.05"]
        run_training(compose_config("train", *tiny_run, *words, *more))
        return tmp_path / "runs" / "tiny"

    return train


@pytest.fixture
def evaluate(compose_config, words):
    def evaluate(*more):
        return run_evaluation(compose_config("eval", *words, *more), [*words, *more])

    return evaluate


@pytest.mark.parametrize(("name", "kind"), [("alexnet", Backprop), ("nin", Cam), ("vgg_gap", Cam)])
def test_cam_where_the_network_allows_it(compose_config, name, kind):
    model = compose_config("eval", f"model={name}", "model.width=0.05").model
    assert type(default_saliency(build_model(model, 3))) is kind


def test_a_new_checkpoint_of_the_network_named_is_scored_anew(trained, evaluate):
    runs = trained("alexnet_gap")
    (folder,) = evaluate("model=alexnet_gap", "contact_sheet=0")
    assert folder == runs / "alexnet_gap" / "eval" / "val-cam"
    before = pd.read_parquet(folder / "predictions.parquet")
    path = runs / "alexnet_gap" / "train" / "last.pt"
    state = torch.load(path, weights_only=True)
    state["model"]["cam_fc.weight"].neg_()
    torch.save(state, path)
    evaluate("model=alexnet_gap", "contact_sheet=0")
    after = pd.read_parquet(folder / "predictions.parquet")
    for one, two in zip(before["classes"], after["classes"], strict=True):
        assert one.tolist() == two.tolist()[::-1]  # best becomes worst


def test_one_network_after_another_and_the_rest_next_time(trained, evaluate, monkeypatch):
    runs = trained("alexnet_gap")
    trained("alexnet")
    real = job._score_model
    calls = []

    def stops_at_the_second(*arguments):
        calls.append(arguments[2]["name"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(job, "_score_model", stops_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        evaluate("contact_sheet=0")
    assert calls == ["alexnet", "alexnet_gap"]
    assert evaluate("contact_sheet=0") == [runs / "alexnet_gap" / "eval" / "val-cam"]
    assert evaluate("contact_sheet=0") == []


def test_a_pass_that_fails_leaves_no_result(trained, evaluate, monkeypatch):
    runs = trained("alexnet_gap")

    def fails(*arguments):
        raise UserError("the disk is gone")

    monkeypatch.setattr(engine, "_box_batch", fails)
    with pytest.raises(UserError, match="the disk is gone"):
        evaluate("model=alexnet_gap")
    assert not (runs / "alexnet_gap" / "eval").exists()


def test_as_many_images_on_the_sheet_as_asked_spread_over_the_split(trained, evaluate, monkeypatch):
    trained("alexnet_gap")
    drawn = []
    monkeypatch.setattr(job, "draw_contact_sheet", lambda path, *rest: drawn.append(rest))
    evaluate("model=alexnet_gap", "contact_sheet=3")
    ((predictions, images, frames, names, strategy, title),) = drawn
    assert [p.id[-1] for p in predictions] == ["1", "3", "5"]
    assert images.keys() == frames.keys() == {p.id for p in predictions}
    assert names == ["class 0", "class 1", "class 2"]
    assert (strategy, title) == ("threshold", "AlexNet-GAP on tiny, val")
    evaluate("model=alexnet_gap", "contact_sheet=100")
    assert len(drawn[1][0]) == 6


def test_best_or_last_checkpoint(trained, evaluate):
    runs = trained("alexnet_gap")
    for which in ("last", "best"):
        (folder,) = evaluate("model=alexnet_gap", f"checkpoint={which}", "contact_sheet=0")
        path = json.loads((folder / "manifest.json").read_text())["checkpoint"]["path"]
        assert path == str(runs / "alexnet_gap" / "train" / f"{which}.pt")
