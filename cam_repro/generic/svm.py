"""Train linear SVMs on features, by scikit-learn: one class against the rest."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass

import numpy as np

from cam_repro.errors import UserError

log = logging.getLogger(__name__)

MOST_STEPS = 5000
"""Passes over the training images after which a class's SVM that goes on is stopped."""


@dataclass(frozen=True, eq=False)
class LinearSvm:
    """Hold a linear SVM over features F as they are: the score of class c is w_c F + b_c.

    weights_CK, bias_C: float64.
    """

    weights_CK: np.ndarray
    bias_C: np.ndarray

    def scores(self, features_NK: np.ndarray) -> np.ndarray:
        """Compute the score of each class, float64 (N, C)."""
        scores_NC: np.ndarray = features_NK @ self.weights_CK.T + self.bias_C
        return scores_NC

    def classify(self, features_NK: np.ndarray) -> np.ndarray:
        """Give the class of the highest score, int64 (N,)."""
        best_N: np.ndarray = self.scores(features_NK).argmax(1)
        return best_N


def train_svm(
    features_NK: np.ndarray, labels_N: np.ndarray, n_classes: int, C: float = 1.0, seed: int = 0
) -> LinearSvm:
    """Train a linear SVM with squared hinge loss for each class against the rest.

    It is trained on standardised features: of mean 0 and standard deviation 1 / sqrt(K) over the
    training images, so that the vector of an image has a length of about 1. Then ``C`` means the
    same for any number of features; and at a length of sqrt(K) training takes many times as long.
    The result is folded: weights and bias are for features as they are, as a class layer
    takes them. A feature that never changes has weight 0.

    labels_N: class indices below ``n_classes``; each class needs an image. C: weight of the loss
    against the size of the weights. seed: of the order in which images are visited.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    assert set(np.unique(labels_N)) == set(range(n_classes)), "each class has an image"
    if n_classes < 2:
        raise UserError("an SVM tells classes apart, and here is one alone: give images of more")
    mean_K = features_NK.mean(axis=0, dtype=np.float64)
    std_K = features_NK.std(axis=0, dtype=np.float64)
    changes_K = std_K > 0
    scale_K = np.where(changes_K, 1 / np.where(changes_K, std_K, 1), 0) / np.sqrt(len(std_K))
    svm = LinearSVC(C=C, dual="auto", max_iter=MOST_STEPS, random_state=seed)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ConvergenceWarning)
        svm.fit((features_NK - mean_K) * scale_K, labels_N)
    if said:
        log.warning(
            "the SVM of some class had not settled after %d passes over the images: a smaller C "
            "settles sooner",
            MOST_STEPS,
        )
    weights_CK, bias_C = svm.coef_, svm.intercept_
    if n_classes == 2:  # scikit-learn has the second class's alone
        weights_CK, bias_C = np.concatenate([-weights_CK, weights_CK]), np.array([-1, 1]) * bias_C
    weights_CK = weights_CK * scale_K
    return LinearSvm(weights_CK, bias_C - weights_CK @ mean_K)
