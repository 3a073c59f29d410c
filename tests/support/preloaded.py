"""Imported by the fork server of `forked.py` before it forks: what launch/search.py and launch/train.py import."""

import gc
import os

from asc.search.cluster import environment

environment.prepare(local=True)  # before Ray is imported
os.environ["OMP_WAIT_POLICY"] = "passive"  # as the launchers set it before torch is imported

import av  # noqa: E402, F401
import mlflow  # noqa: E402
import mlflow.pyfunc  # noqa: E402
import mlflow.store.db_migrations  # noqa: E402
import mlflow.store.tracking.sqlalchemy_store  # noqa: E402
import mlflow.tracking  # noqa: E402, F401
import optuna  # noqa: E402, F401
import ray.dashboard.optional_deps  # noqa: E402, F401
import sklearn.model_selection  # noqa: E402, F401
import torch  # noqa: E402, F401
import tyro  # noqa: E402, F401
from mlflow.utils import requirements_utils  # noqa: E402
from ray import tune  # noqa: E402, F401

from asc.audio.torchaudio_compat import torchaudio  # noqa: E402

torchaudio()
from asc.api import calls, training  # noqa: E402, F401
from asc.report import page  # noqa: E402, F401
from asc.search import conductor, exit_code, finish, live  # noqa: E402, F401
from asc.search.cluster import cluster, study  # noqa: E402, F401
from asc.tracking import session  # noqa: E402, F401

# MLflow reads the metadata of every installed package, once a process.
requirements_utils._init_packages_to_modules_map()  # type: ignore[no-untyped-call]
# A collection of garbage would look at all that was imported, and so copy its memory in every forked process.
gc.collect()
gc.freeze()
