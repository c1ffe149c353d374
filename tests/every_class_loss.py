"""The one list that every law of losses for classes runs over."""

from __future__ import annotations

from asrl_mlflow.losses import (
    Focal,
    FullL,
    FullM,
    GeneralizedCrossEntropy,
    LLoss,
    LogLoss,
    MLoss,
    Poly1,
    SmoothHinge,
    SoftmaxCrossEntropy,
    SquaredHinge,
)

BINARY = [
    LogLoss(),
    Focal(),
    Focal(gamma=0.5),
    Focal(gamma=0.0),
    Focal(gamma=2.0, alpha=0.25),
    Focal(gamma=5.0),
    Poly1(),
    Poly1(epsilon=-0.9),
    Poly1(epsilon=3.0),
    Poly1(epsilon=-1.0),
    GeneralizedCrossEntropy(),
    GeneralizedCrossEntropy(q=0.1),
    GeneralizedCrossEntropy(q=0.8),
    FullM(),
    FullL(),
    SquaredHinge(),
    SmoothHinge(),
    SmoothHinge(gamma=0.3),
    SmoothHinge(gamma=2.5),
]
SOFTMAX = [
    SoftmaxCrossEntropy(),
    MLoss(),
    LLoss(),
    *(
        loss
        for loss in BINARY
        if not isinstance(loss, SquaredHinge | SmoothHinge) and getattr(loss, "alpha", None) is None
    ),
]
EVERY_CLASS_LOSS = list(dict.fromkeys([*BINARY, *SOFTMAX]))
