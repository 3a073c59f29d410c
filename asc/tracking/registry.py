"""Logs the best model of a run in MLflow and registers the model of a search under the search's name.

Both are found by the digest of the model file, so sending a model again creates no duplicate. A new card replaces the
old one. A model whose upload was interrupted is uploaded again.
https://mlflow.org/docs/latest/ml/model-registry
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS, MLFLOW_RUN_NOTE

from asc.run_files import MODEL_CARD
from asc.tracking.model import registered_name, write_model
from asc.tracking.update import RUN_TAG, TRIAL_TAG

DIGEST_TAG = "asc.digest"
# The longest description that fits in the database of an MLflow server.
_DESCRIPTION_CHARACTERS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class BestModel:
    """The best model of a run: the model file and its card. `register` says to register it, not only log it."""

    run: str
    run_key: str
    run_id: str
    trial: str
    data: bytes
    card: str
    register: bool

    @property
    def digest(self) -> str:
        """SHA-256 of the model file in hex, by which it is found."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def card_digest(self) -> str:
        """SHA-256 of the card in hex. A resumed search may change the card although the best model stays the same."""
        return hashlib.sha256(self.card.encode()).hexdigest()

    @property
    def description(self) -> str:
        """The card, cut at the end of a line if it may be too long for the database."""
        if len(self.card) <= _DESCRIPTION_CHARACTERS:
            return self.card
        end = f"\n\nCut here; the whole card is `{MODEL_CARD}` in the folder of the model.\n"
        kept = self.card[: _DESCRIPTION_CHARACTERS - len(end)]
        return kept[: kept.rfind("\n")] + end

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags by which the model is found."""
        return {RUN_TAG: self.run_key, TRIAL_TAG: self.trial, DIGEST_TAG: self.digest}


def publish(client: MlflowClient, experiment_id: str, best: BestModel) -> str:
    """Log a model and register it, unless that is done already; return its URI, such as `models:/night/1`.

    Raises:
        one of asc.tracking.failures.failures(): MLflow cannot be reached, or refuses.
    """
    logged = _logged(client, experiment_id, best)
    if not best.register:
        return f"models:/{logged.model_id}"
    name = registered_name(best.run)
    version = _version(client, name, logged, best)
    _link(client, logged, {"name": name, "version": version})
    return f"models:/{name}/{version}"


def _logged(client: MlflowClient, experiment_id: str, best: BestModel) -> LoggedModel:
    found = client.search_logged_models(
        [experiment_id], f"tags.`{DIGEST_TAG}` = '{best.digest}' AND tags.`{RUN_TAG}` = '{best.run_key}'"
    )
    logged = next(iter(found), None) or client.create_logged_model(
        experiment_id,
        name=re.sub(r"[^\w-]", "_", best.run),
        source_run_id=best.run_id,
        tags={**best.tags, MLFLOW_RUN_NOTE: best.description},
        model_type="classifier",
    )
    outputs = client.get_run(best.run_id).outputs
    if logged.model_id not in [output.model_id for output in (outputs.model_outputs if outputs else [])]:
        client.log_outputs(best.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    if logged.status != LoggedModelStatus.READY:
        with tempfile.TemporaryDirectory() as scratch:
            write_model(Path(scratch) / "model", best.data, best.card, logged)
            client.log_model_artifacts(logged.model_id, str(Path(scratch) / "model"))
        client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    _mend_card(client, logged, best)
    return logged


def _mend_card(client: MlflowClient, logged: LoggedModel, best: BestModel) -> None:
    """Replace the card: first the file, then the description, so that an interrupted change is noticed and repeated."""
    if logged.tags.get(MLFLOW_RUN_NOTE) == best.description:
        return
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / MODEL_CARD
        file.write_text(best.card, "utf-8")
        client.log_model_artifact(logged.model_id, str(file))
    client.set_logged_model_tags(logged.model_id, {MLFLOW_RUN_NOTE: best.description})


def _version(client: MlflowClient, name: str, logged: LoggedModel, best: BestModel) -> str:
    versions = client.search_model_versions(f"name = '{name}' AND tags.`{DIGEST_TAG}` = '{best.digest}'")
    if versions:
        if versions[0].description != best.description:
            client.update_model_version(name, versions[0].version, best.description)
        return str(versions[0].version)
    _register_name(client, name)
    made = client.create_model_version(
        name,
        # Not models:/ID: MLflow would look that up in the database of this process's own settings.
        source=logged.artifact_location,
        run_id=best.run_id,
        model_id=logged.model_id,
        tags=dict(best.tags),
        description=best.description,
        await_creation_for=0,
    )
    return str(made.version)


def _link(client: MlflowClient, logged: LoggedModel, version: Mapping[str, str]) -> None:
    """Link the model's page to that of its version. A server sets this tag itself; with a database we must do so."""
    versions = json.loads(logged.tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
    if version not in versions:
        client.set_logged_model_tags(logged.model_id, {MLFLOW_MODEL_VERSIONS: json.dumps([*versions, version])})


def _register_name(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(
            name, description="The best models of a search by asc; the description of a version is its model card."
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
