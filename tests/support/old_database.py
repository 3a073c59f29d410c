"""A tracking database of an older MLflow: its tables are made by MLflow's own migrations, up to an older one."""

from pathlib import Path

import mlflow
import sqlalchemy
from alembic import command
from alembic.config import Config
from mlflow.store.tracking.dbmodels.initial_models import Base

OLDER = "534353b11cbc"  # of MLflow 2; later versions have more tables
NOT_YET_IN_USE = "ffffffffffff"
EXPERIMENT = """
INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage)
VALUES (0, 'Default', '/nowhere', 'active')
"""
RUN = """
INSERT INTO runs (run_uuid, name, user_id, source_type, status, start_time, end_time, lifecycle_stage, experiment_id)
VALUES ('a0', 'of before', 'me', 'LOCAL', 'FINISHED', 1, 2, 'active', 0)
"""


def write_database(file: Path) -> None:
    """Write a database with one run of the default experiment."""
    engine = sqlalchemy.create_engine(f"sqlite:///{file}")
    Base.metadata.create_all(engine)
    config = Config()
    config.set_main_option("script_location", str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, OLDER)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(EXPERIMENT))
        connection.execute(sqlalchemy.text(RUN))
    engine.dispose()
