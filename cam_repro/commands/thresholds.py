"""Take thresholds that were best on other images: ``cam-score threshold_from=``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cam_repro.engine.saved_maps import score_maps
from cam_repro.errors import UserError
from cam_repro.metrics.protocol import Protocol
from cam_repro.runs.folders import run_folder
from cam_repro.runs.same_images import images_of, images_sha256
from cam_repro.runs.scores import read_json_object
from cam_repro.truth import Truth

if TYPE_CHECKING:  # imports pyarrow, which a JSON does without
    from cam_repro.runs.manifest import EvalManifest
    from cam_repro.runs.predictions import Predictions

IMAGES = "images_sha256"
"""The key of the JSON of a protocol that chooses thresholds which says of which images it is.

It has the list that ``images_sha256`` gives.
"""

NOT_KNOWN = "not known whether of other images"


@dataclass
class ThresholdSource:
    """Hold where thresholds come from: the JSON of a protocol, or a run, which is scored then.

    name: as it was given. json: what the file holds; run: what the folder holds. One is None.
    found: what protocols made of the run, by their names.
    """

    name: str
    json: dict[str, Any] | None = None
    run: Predictions | None = None
    found: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, name: str) -> ThresholdSource:
        """Read the JSON, or the predictions of the run; raises UserError where it is neither."""
        folder = run_folder(Path(name))
        if folder is None:
            if not Path(name).is_file():
                raise UserError(
                    f"threshold_from={name}: is neither a file nor the folder of a run: give the "
                    "JSON that cam-score wrote of other images, or a run of cam-eval over these"
                )
            return cls(name, json=read_json_object(Path(name)))
        from cam_repro.runs.predictions import read_predictions

        return cls(name, run=read_predictions(folder))

    def refuse_unlike(self, run: EvalManifest, name: str) -> None:
        """Raise UserError where thresholds of a run are of other maps than those of ``run``.

        name: of ``run``, with which a result at these thresholds is to be kept.
        """
        if self.run is None:
            return
        pairs = {
            "network": (self.run.manifest.model, run.model),
            "saliency method": (self.run.manifest.saliency, run.saliency),
            "view": (self.run.manifest.view, run.view),
        }
        for what, (of_source, scored) in pairs.items():
            if of_source != scored:
                raise UserError(
                    f"threshold_from={self.name}: is of another {what} ({of_source}) than {name} "
                    f"({scored}), with which the result is to be kept: give a run of this one, or "
                    "output=F.json in place of keep"
                )

    def give(self, protocol: Protocol, truth: Truth) -> None:
        """Give a protocol the thresholds that were best for it here.

        truth: the images that it will score. Raises UserError where the thresholds were chosen on
        some of these, or the source has none for the protocol.
        """
        if self.run is not None:
            shared = set(images_of(self.run)).intersection(images_of(truth))
            if shared:
                raise self._of_these(len(shared))
            of = self.run.manifest
            where = f"{of.data.name} {of.split} by maps of {of.label} ({self.name})"
            protocol.take_thresholds(self._of_run(protocol, self.run), where)
            return
        assert self.json is not None
        is_of_one = "thresholds_are" in self.json  # else it has those of several by name
        numbers = self.json if is_of_one else self.json.get(protocol.name)
        numbers = numbers if isinstance(numbers, dict) else {}
        is_known = isinstance(numbers.get(IMAGES), list)
        images = map(str, numbers[IMAGES]) if is_known else ()
        shared = set(images).intersection(images_sha256(truth))
        if shared:
            raise self._of_these(len(shared))
        where = self.name if is_known else f"{self.name} ({NOT_KNOWN})"
        protocol.take_thresholds(numbers, where)

    def _of_run(self, protocol: Protocol, run: Predictions) -> dict[str, Any]:
        """Score the run, once for each protocol."""
        from cam_repro.runs.saved_maps import maps_folder

        if protocol.name not in self.found:
            folder = run_folder(Path(self.name))
            assert folder is not None, "it was opened"
            scored = score_maps(protocol, run, maps_folder(run, folder), run)
            self.found[protocol.name] = scored.numbers
        return self.found[protocol.name]

    def _of_these(self, n: int) -> UserError:
        return UserError(
            f"threshold_from={self.name}: is of the very images that are scored, {n} of them: a "
            "threshold that is chosen on these is the oracle, which the result has without this"
        )
