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

MAPS_OF = "maps_of"
"""The key of that JSON which says whose maps they are, where they are a run's (``maps_of``)."""

NOT_KNOWN = "not known whether of other images"
NOBODYS = "not known by whose maps"


def maps_of(run: EvalManifest) -> dict[str, str]:
    """Say whose maps those of a run are, for the JSON of a protocol."""
    return {
        "network": run.model,
        "saliency": run.saliency,
        "view": run.view,
        "label": run.label,
        "data": run.data.name,
        "split": run.split,
    }


def _maps_of(numbers: dict[str, Any]) -> dict[str, str] | None:
    """Find in the JSON of a protocol whose maps they are; None where it does not say."""
    found = numbers.get(MAPS_OF)
    return {key: str(value) for key, value in found.items()} if isinstance(found, dict) else None


_COMPARED = {"network": "network", "saliency": "saliency method", "view": "view"}
"""What a message calls the keys of ``maps_of`` by which maps are compared."""


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

    def refuse_unlike(self, protocol: Protocol, run: EvalManifest, name: str) -> None:
        """Raise UserError where thresholds are of the maps of another run than ``run``.

        name: of ``run``, with which a result at these thresholds is to be kept.
        """
        of = _maps_of(self._numbers(protocol)) if self.run is None else maps_of(self.run.manifest)
        if of is None:
            return
        wanted = maps_of(run)
        for key, what in _COMPARED.items():
            if of.get(key) != wanted[key]:
                raise UserError(
                    f"threshold_from={self.name}: is of another {what} ({of.get(key)}) than {name} "
                    f"({wanted[key]}), with which the result is to be kept: give a run of this "
                    "one, or output=F.json in place of keep"
                )

    def _numbers(self, protocol: Protocol) -> dict[str, Any]:
        """Find what the JSON says of a protocol, which is all that it says or by its name."""
        assert self.json is not None
        found = self.json if "thresholds_are" in self.json else self.json.get(protocol.name)
        return found if isinstance(found, dict) else {}

    def give(self, protocol: Protocol, truth: Truth) -> None:
        """Give a protocol the thresholds that were best for it here.

        truth: the images that it will score. Raises UserError where the thresholds were chosen on
        some of these, or the source has none for the protocol.
        """
        if self.run is not None:
            shared = set(images_of(self.run)).intersection(images_of(truth))
            if shared:
                raise self._of_these(len(shared))
            where = self._where(maps_of(self.run.manifest))
            protocol.take_thresholds(self._of_run(protocol, self.run), where)
            return
        numbers = self._numbers(protocol)
        is_known = isinstance(numbers.get(IMAGES), list)
        images = map(str, numbers[IMAGES]) if is_known else ()
        shared = set(images).intersection(images_sha256(truth))
        if shared:
            raise self._of_these(len(shared))
        of = _maps_of(numbers)
        where = f"{self.name}, {NOBODYS}" if of is None else self._where(of)
        protocol.take_thresholds(numbers, where if is_known else f"{where}, {NOT_KNOWN}")

    def _where(self, of: dict[str, str]) -> str:
        """Say on which images thresholds were chosen, and by whose maps."""
        return f"{of.get('data')} {of.get('split')} by maps of {of.get('label')} ({self.name})"

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
