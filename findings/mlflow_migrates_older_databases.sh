#!/usr/bin/env bash
# MLflow 3.17.2: merely listing the experiments of an older tracking database rewrites its tables to the newest schema, without a
# copy and without a word.
#
# MLflow has an error for a database whose schema is older: it says to make a copy and to run `mlflow db upgrade`. But when a store is
# opened, it first looks whether all tables are there, and if one is missing it takes the database for a new one: it creates
# the missing tables and then runs all migrations. Nearly every release adds a table, so nearly every older database is
# migrated at once, by the first client that opens it, even one that only reads; the error is left for those whose tables
# happen to be complete. The older MLflow that wrote it, perhaps still running elsewhere, then refuses the database. So whoever
# keeps a database beside his runs must look at its table `alembic_version` before MLflow opens it.
#
# Exits 1 if an older database is left as it is.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "mlflow==3.17.2"

cat > "$folder/open.py" << 'PROGRAM'
import sqlite3
import sys
from pathlib import Path

import mlflow
import sqlalchemy
from alembic import command
from alembic.config import Config
from mlflow.store.tracking.dbmodels.initial_models import Base

OLDER = "534353b11cbc"  # a revision of MLflow 2
file = Path(sys.argv[1]) / "mlflow.db"


def revision() -> str:
    with sqlite3.connect(file) as database:
        return database.execute("SELECT version_num FROM alembic_version").fetchone()[0]


engine = sqlalchemy.create_engine(f"sqlite:///{file}")
Base.metadata.create_all(engine)
config = Config()
config.set_main_option("script_location", str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
with engine.begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, OLDER)
engine.dispose()
before = revision()
mlflow.MlflowClient(f"sqlite:///{file}").search_experiments()
files = sorted(path.name for path in file.parent.glob("mlflow*"))
print(f"revision {before} before, {revision()} after; files: {', '.join(files)}")
sys.exit(0 if before == OLDER != revision() and files == ["mlflow.db"] else 1)
PROGRAM
mkdir "$folder/run"
cd "$folder/run"
# Seen: revision 534353b11cbc before, dc11669786a5 after; files: mlflow.db
MLFLOW_DISABLE_TELEMETRY=true "$folder/venv/bin/python" "$folder/open.py" "$folder/run" 2> /dev/null
