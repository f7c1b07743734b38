"""Linear SVMs: folded back to raw features, and equal to scikit-learn's on scaled ones."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC

from cam_repro.errors import UserError
from cam_repro.generic.svm import train_svm

RNG = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 2], 20)
FEATURES = RNG.normal(size=(60, 5)) * [1, 10, 0.1, 3, 0] + LABELS[:, None] * [2, 5, 0, 1, 0] + 7
FEATURES = FEATURES.astype(np.float32)


def theirs_on(features_NK, labels_N, C=1.0, seed=0):
    """scikit-learn's own chain: standardise, bring to a length of about 1, train."""
    to_length_1 = FunctionTransformer(lambda scaled_NK: scaled_NK / np.sqrt(scaled_NK.shape[1]))
    svm = LinearSVC(C=C, dual="auto", max_iter=5000, random_state=seed)
    chain = make_pipeline(StandardScaler(), to_length_1, svm)
    return chain.fit(features_NK.astype(np.float64), labels_N)


@pytest.mark.parametrize("C", [0.01, 1.0])
def test_scores_are_those_of_scikit_learn_on_standardised_features(C):
    svm = train_svm(FEATURES, LABELS, 3, C=C, seed=1)
    theirs = theirs_on(FEATURES, LABELS, C, seed=1)
    np.testing.assert_allclose(
        svm.scores(FEATURES), theirs.decision_function(FEATURES.astype(np.float64)), atol=1e-5
    )
    assert svm.classify(FEATURES).tolist() == theirs.predict(FEATURES).tolist()
    assert svm.weights_CK.shape == (3, 5)
    assert svm.weights_CK[:, 4].tolist() == [0, 0, 0]  # this feature never changes


def test_two_classes_have_opposite_scores():
    two = LABELS < 2
    svm = train_svm(FEATURES[two], LABELS[two], 2)
    scores_N2 = svm.scores(FEATURES[two])
    np.testing.assert_allclose(scores_N2[:, 0], -scores_N2[:, 1])
    theirs = theirs_on(FEATURES[two], LABELS[two])
    assert svm.classify(FEATURES[two]).tolist() == theirs.predict(FEATURES[two]).tolist()


def test_two_points_have_their_separating_line():
    """Features 1 and 3, scaled to -1 and 1: by symmetry the score of 2 is 0, of 3 what 1 has."""
    svm = train_svm(np.float32([[1, 5], [3, 5]]), np.array([0, 1]), 2, C=1e6)
    np.testing.assert_allclose(svm.scores(np.float32([[2, 9]])), [[0, 0]], atol=1e-6)
    np.testing.assert_allclose(svm.scores(np.float32([[3, 0]])), [[-1, 1]], atol=1e-3)


def test_one_class_alone_is_refused():
    with pytest.raises(UserError, match="here is one alone"):
        train_svm(FEATURES[:20], LABELS[:20], 1)


def test_what_has_not_settled_is_said(monkeypatch, caplog):
    monkeypatch.setattr("cam_repro.generic.svm.MOST_STEPS", 1)
    train_svm(FEATURES, LABELS, 3, C=1e3)
    assert "had not settled after 1 passes" in caplog.text
