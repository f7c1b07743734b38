"""``cam-score``: the official metric for anybody's submission file."""

from __future__ import annotations

import dataclasses
import json
import logging

from omegaconf import MISSING, DictConfig

from cam_repro.cli.app import command
from cam_repro.config import validate
from cam_repro.devkit import read_blacklist, read_ground_truth, read_submission
from cam_repro.errors import UserError
from cam_repro.files import write_json
from cam_repro.metrics.official import errors, hits

log = logging.getLogger(__name__)


@dataclasses.dataclass
class ScoreConfig:
    """Files, as in configs/score.yaml."""

    submission: str = MISSING
    ground_truth: str = MISSING
    blacklist: str | None = None
    output: str | None = None


@command("score", groups=False)
def main(cfg: DictConfig) -> None:
    """Score a submission; JSON on standard output, a table on standard error."""
    config = validate(cfg, ScoreConfig)
    labels_N5, boxes_N54 = read_submission(config.submission)
    truth = read_ground_truth(config.ground_truth)
    n_images = len(truth.images)
    if len(labels_N5) != n_images:
        raise UserError(
            f"submission has {len(labels_N5)} lines, ground truth {n_images}: "
            "one line an image is needed, an empty one where nothing is guessed"
        )
    if truth.images != sorted(truth.images):
        log.warning("the ground truth is not in file-name order; lines are matched as they stand")
    blacklisted_N = read_blacklist(config.blacklist, n_images) if config.blacklist else None

    right = hits(labels_N5, boxes_N54, truth.labels_N, truth.gt_boxes_T4, truth.gt_offsets)
    guesses = errors(*right, blacklisted_N)
    result = {
        "n_images": n_images,
        "n_blacklisted": 0 if blacklisted_N is None else int(blacklisted_N.sum()),
        "guesses": [dataclasses.asdict(guess) for guess in guesses],
    }
    log.info("guesses  cls error %%  cls-loc error %%   (%d images)", n_images)
    for guess in guesses:
        log.info("%7d  %11.2f  %15.2f", guess.k, guess.cls_error, guess.clsloc_error)
    print(json.dumps(result, indent=2))
    if config.output:
        write_json(config.output, result)


if __name__ == "__main__":
    main()
