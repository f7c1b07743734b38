"""Write and read the manifest of a run: what was run, on which data, how, and by what.

``manifest.json`` is written last, so a folder that has one holds a complete run. It names the
SHA-256 of the run's other files, which ``check_unchanged`` compares where they are read, and has a
checksum of its own. There is a module here for each kind: ``scored`` for a pass over a split,
``trained`` for a training run, ``features`` for the features of a split, ``svm`` for a linear SVM
on features, ``concept`` for a concept. Only these modules know the keys of the JSON; all others use
the records. Needs no torch.

This version writes schema 2 and reads 1 as well (``scored`` says what differs). In schema 1 a
training run's manifest did not name a schema.
"""

from cam_repro.runs.manifest.concept import ConceptManifest, read_concept_manifest
from cam_repro.runs.manifest.features import FeaturesManifest, read_features_manifest
from cam_repro.runs.manifest.files import (
    check_unchanged,
    is_of_scored_run,
    is_of_svm,
    refuse_to_overwrite,
    write_manifest,
)
from cam_repro.runs.manifest.parts import (
    Checkpoint,
    Counts,
    Crops,
    Hardware,
    Provenance,
    ScoredData,
    TrainedData,
)
from cam_repro.runs.manifest.record import MANIFEST
from cam_repro.runs.manifest.scored import (
    DEFAULT_VIEW,
    Blacklist,
    CuesMade,
    EvalManifest,
    read_eval_manifest,
)
from cam_repro.runs.manifest.svm import Accuracy, SvmManifest, read_svm_manifest
from cam_repro.runs.manifest.trained import TrainManifest, read_train_manifest

__all__ = [
    "DEFAULT_VIEW",
    "MANIFEST",
    "Accuracy",
    "Blacklist",
    "Checkpoint",
    "ConceptManifest",
    "Counts",
    "Crops",
    "CuesMade",
    "EvalManifest",
    "FeaturesManifest",
    "Hardware",
    "Provenance",
    "ScoredData",
    "SvmManifest",
    "TrainManifest",
    "TrainedData",
    "check_unchanged",
    "is_of_scored_run",
    "is_of_svm",
    "read_concept_manifest",
    "read_eval_manifest",
    "read_features_manifest",
    "read_svm_manifest",
    "read_train_manifest",
    "refuse_to_overwrite",
    "write_manifest",
]
