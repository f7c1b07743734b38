import pytest

from cam_repro.errors import (
    Stopped,
    UserError,
    choose,
    did_you_mean,
    if_stopped,
    interrupt_behind,
    one_of,
)

KEYS = ["optim", "optim.lr", "optim.bias_lr", "optim.batch_size", "box.threshold.threshold", "seed"]
KEYS += ["model.width", "model.weights", "experiment.train"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("optm.lr", ["optim.lr"]),
        ("lr", ["optim.lr"]),
        ("batch_size", ["optim.batch_size"]),
        ("optim.batchsize", ["optim.batch_size"]),
        ("box.treshold", ["box.threshold.threshold"]),
        ("model.widht", ["model.width"]),
        ("sede", ["seed"]),
        ("optin", ["optim"]),
        ("data.n_train", []),  # much like experiment.train's end, but of another group
        ("xyz", []),
        ("", []),
    ],
)
def test_what_a_misspelt_key_may_be_meant_to_be(name, meant):
    said = f"; did you mean {' or '.join(meant)}?" if meant else ""
    assert did_you_mean(name, KEYS) == said


def test_of_names_that_are_equally_near_all_are_named_but_not_many():
    assert did_you_mean("ca", ["cat", "cab", "dog"]) == "; did you mean cat or cab?"
    assert did_you_mean("ca", ["cat", "cab", "car", "can"]) == "; did you mean cat or cab or car?"
    assert did_you_mean("anything", []) == ""


def test_a_value_that_is_none_of_the_names():
    assert choose("x", iter(["auto", "bf16"])) == "choose one of auto, bf16"
    one_of("precision", "bf16", ("auto", "bf16"))
    with pytest.raises(UserError) as error:
        one_of("precision", "bf61", ("auto", "bf16"))
    assert str(error.value) == "precision=bf61: choose one of auto, bf16; did you mean bf16?"


def test_ctrl_c_says_what_is_kept_and_the_inner_word_is_the_last():
    @if_stopped("all of it")
    def work(error):
        if error is not None:
            raise error
        return 3

    assert work(None) == 3
    with pytest.raises(Stopped, match=r"^all of it$"):
        work(KeyboardInterrupt())
    with pytest.raises(Stopped, match=r"^half of it$"):
        work(Stopped("half of it"))
    with pytest.raises(ValueError, match=r"^other$"):
        work(ValueError("other"))


def test_a_second_signal_does_not_hide_what_the_first_left():
    @if_stopped("nothing")
    def work():
        try:
            raise Stopped("a checkpoint is kept")
        finally:
            raise KeyboardInterrupt

    with pytest.raises(Stopped, match=r"^a checkpoint is kept$"):
        work()


def test_ctrl_c_that_python_turned_into_another_error_is_still_ctrl_c():
    class Pressed:
        def __set_name__(self, owner, name):
            raise KeyboardInterrupt

    @if_stopped("all of it")
    def make_class():
        type("Class", (), {"attribute": Pressed()})  # in Python 3.11 raises RuntimeError

    with pytest.raises(Stopped, match=r"^all of it$"):
        make_class()
    assert interrupt_behind(ValueError("other")) is None
