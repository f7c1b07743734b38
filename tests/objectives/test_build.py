import pytest

from cam_repro.engine.settings import CLASSIFICATION
from cam_repro.errors import UserError
from cam_repro.objectives.build import objective_of

GAIN = {"_target_": "cam_repro.objectives.gain.Gain", "name": "gain"}


def test_an_objective_has_its_name_and_the_label_smoothing():
    objective = objective_of(CLASSIFICATION, label_smoothing=0.1)
    assert (objective.name, objective.label_smoothing) == ("classification", 0.1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "x"}, r"^train\._target_ is not given"),
        ({"_target_": "pathlib.Path", "name": "x"}, "is no Objective; derive the class from"),
        ({**GAIN, "alhpa": 1}, r"^train\.alhpa: Gain has no such setting.*\balpha\b"),
        ({**GAIN, "label_smoothing": 1}, r"^train\.label_smoothing: Gain has no such setting"),
        ({**GAIN, "alpha": -1}, r"^train\.alpha=-1: must be a number of 0 or more$"),
        ({**GAIN, "alpha": "much"}, r"^train\.alpha=much: must be a number"),
        ({**GAIN, "omega": float("nan")}, r"^train\.omega=nan: must be a number"),
        ({**GAIN, "weight_e": True}, r"^train\.weight_e=True: must be a number"),
        ({**GAIN, "sigma": 1.5}, r"^train\.sigma=1\.5: must be a number from 0 to 1$"),
        ({**GAIN, "masks_share": 2}, r"^train\.masks_share=2: must be a number from 0 to 1$"),
        ({**GAIN, "attention": "gradcm"}, r"^train\.attention=gradcm: .*did you mean gradcam"),
        ({**GAIN, "normalise": "batch"}, r"^train\.normalise=batch: choose one of minmax, max"),
        ({**GAIN, "masks": True}, r"^train\.masks=True: choose one of none, masks, boxes"),
        (
            {**GAIN, "loss": "l2"},
            r"^train\.loss=l2: choose one of null, cross_entropy, multi_label",
        ),
        ({**GAIN, "score": "s"}, r"^train\.score=s: choose one of null, logit, probability"),
        ({**GAIN, "through_hiding": 1}, r"^train\.through_hiding=1: must be true or false$"),
    ],
)
def test_settings_are_refused_in_one_line(settings, said):
    with pytest.raises(UserError, match=said) as refused:
        objective_of(settings, label_smoothing=0.0)
    assert "\n" not in str(refused.value)
