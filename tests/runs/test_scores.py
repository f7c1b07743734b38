"""What a protocol made of a run, kept with it: read as it was written, or left out."""

import json

from cam_repro.runs.scores import read_scores, scores_file, write_scores

SCORES = {"max_box_acc": {"0.5": 22.5}, "mean": float("nan"), "n": 3}


def test_what_is_written_is_read(tmp_path):
    write_scores(tmp_path, "max_box_acc", SCORES)
    assert read_scores(tmp_path) == {"max_box_acc": {**SCORES, "mean": None}}


def test_a_changed_file_is_left_out_and_named(tmp_path, caplog):
    write_scores(tmp_path, "max_box_acc", SCORES)
    path = scores_file(tmp_path, "max_box_acc")
    path.write_text(path.read_text().replace("22.5", "92.5"))
    assert read_scores(tmp_path) == {}
    assert caplog.messages[-1] == (
        f"left out: {path}: is not as it was written, by its checksum: write it again"
    )


def test_a_file_of_an_older_version_has_no_checksum(tmp_path):
    scores_file(tmp_path, "pxap").write_text(json.dumps({"pxap": 1.5}))
    assert read_scores(tmp_path) == {"pxap": {"pxap": 1.5}}
