"""Imported by the fork server of `forked.py` before it forks: what launch/search.py and launch/train.py import."""

from asc.search.cluster import environment

environment.prepare(local=True)  # before Ray is imported

import av  # noqa: E402, F401
import mlflow  # noqa: E402
import mlflow.pyfunc  # noqa: E402
import mlflow.store.tracking.sqlalchemy_store  # noqa: E402
import mlflow.tracking  # noqa: E402, F401
import optuna  # noqa: E402, F401
import ray.dashboard.optional_deps  # noqa: E402, F401
import sklearn.model_selection  # noqa: E402, F401
import torch  # noqa: E402, F401
import tyro  # noqa: E402, F401
from ray import tune  # noqa: E402, F401

from asc.audio.torchaudio_compat import torchaudio  # noqa: E402

torchaudio()
