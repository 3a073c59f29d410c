"""A linear baseline that a network has to beat: logistic regression on log-mel statistics.

    python tests/benchmarks/linear_baseline.py [--data SPEC] [--fold K]

Features are the mean and standard deviation over time of the report's 128 log-mel bands (without mean removal),
standardised. Regularisation is chosen by grouped cross-validation on the train split. Prints macro figures on valid,
which are means over classes of the per-class mean.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from asc.audio.frontend import LogMel
from asc.config.data_choice import DataChoice
from asc.config.front_end import FrontEnd
from asc.data.dataset import Dataset, default_cache, open_dataset

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
GROUP_FOLDS = 4


def statistics(dataset: Dataset, clips: Sequence[int], front_end: LogMel) -> NDArray[np.float32]:
    """Mean and standard deviation over time of every log-mel band: (clips, 2 * mel_bands) float32, natural log."""
    rows = []
    with torch.inference_mode():
        for i in clips:
            log_mel = front_end.log_mel(torch.from_numpy(dataset.waveform(i))[None])[0, 0]
            rows.append(torch.cat([log_mel.mean(-1), log_mel.std(-1)]))
    return torch.stack(rows).numpy()


def fit(features: NDArray[np.float32], targets: NDArray[np.int64], groups: Sequence[str]) -> Pipeline:
    """Fit the logistic regression whose regularisation does best on held-out groups.

    Takes features (clips, features), targets (clips,) and a group name per clip.
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    search = GridSearchCV(
        model,
        {"logisticregression__C": STRENGTHS},
        cv=GroupKFold(GROUP_FOLDS),
        scoring="neg_log_loss",
    )
    return search.fit(features, targets, groups=groups).best_estimator_


def macro(log_probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> tuple[float, float]:
    """Macro log loss in nats and macro accuracy (0 to 1) of log probabilities (clips, classes) for targets (clips,)."""
    losses = -log_probabilities[np.arange(len(targets)), targets]
    right = log_probabilities.argmax(axis=1) == targets
    classes = np.unique(targets)
    return (
        float(np.mean([losses[targets == each].mean() for each in classes])),
        float(np.mean([right[targets == each].mean() for each in classes])),
    )


def main() -> None:
    """Print the validation figures of a data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="synthetic", metavar="SPEC")
    parser.add_argument("--fold", type=int, default=1, metavar="K")
    arguments = parser.parse_args()
    config = FrontEnd()
    dataset = open_dataset(
        DataChoice(arguments.data, fold=arguments.fold),
        sample_rate_hz=config.sample_rate_hz,
        cache=default_cache(),
        splits=("train", "valid"),
    )
    front_end = LogMel(config)
    train, valid = dataset.indices("train"), dataset.indices("valid")
    model = fit(
        statistics(dataset, train, front_end),
        np.array([dataset.target(i) for i in train]),
        [dataset.manifest.clips[i].group for i in train],
    )
    log_loss, accuracy = macro(
        model.predict_log_proba(statistics(dataset, valid, front_end)), np.array([dataset.target(i) for i in valid])
    )
    strength = model.named_steps["logisticregression"].C
    print(f"{arguments.data} fold {arguments.fold}: {len(train)} train and {len(valid)} valid clips, C {strength:g}")
    print(f"valid macro log loss {log_loss:.3f}, accuracy {100 * accuracy:.1f} %")


if __name__ == "__main__":
    main()
