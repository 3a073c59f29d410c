#!/usr/bin/env bash
# MLflow 3.17.2: a process that is killed while MLflow makes a new sqlite tracking database leaves a file that no MLflow can
# open or upgrade.
#
# The first client of a new database creates the tables of MLflow 1 and then runs 68 migrations, a few seconds on a small
# machine. They run in one transaction of SQLAlchemy, but Python's sqlite3 does not keep changes of tables in it: each is in the file at
# once, while alembic's note of how far it came is not. So after a kill, the next client starts with the first migration and meets columns
# or tables that are there already. `mlflow db upgrade` ends in the same way; only deleting the file helps. Whoever may be
# stopped in his first seconds (a job with a time limit, Ctrl-C twice) should make the database under another name, and rename it.
#
# Exits 1 if the next client can use what the killed one left.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "mlflow==3.17.2"

cat > "$folder/open.py" << 'PROGRAM'
import os
import signal
import sys

from mlflow import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

if sys.argv[1] == "killed":

    @event.listens_for(Engine, "before_cursor_execute")
    def kill(connection, cursor, statement, *others):
        if statement.strip().startswith("DROP TABLE"):  # of the first table that a migration replaces
            os.kill(os.getpid(), signal.SIGKILL)


try:
    print(len(MlflowClient("sqlite:///mlflow.db").search_experiments()), "experiment")
except Exception as error:
    print(str(error).splitlines()[0])
    sys.exit(3)
PROGRAM
cd "$folder"
export MLFLOW_DISABLE_TELEMETRY=true
code=0
"$folder/venv/bin/python" open.py killed 2> /dev/null || code=$?
echo "the first client ended with $code"
[ "$code" = 137 ] || exit 1
code=0
"$folder/venv/bin/python" open.py next 2> /dev/null || code=$?
echo "the next one ended with $code"
[ "$code" = 3 ] || exit 1
if "$folder/venv/bin/mlflow" db upgrade sqlite:///mlflow.db > upgrade.txt 2>&1; then exit 1; fi
grep -o -m 1 "(sqlite3.OperationalError).*" upgrade.txt
# Seen:
# the first client ended with 137
# (sqlite3.OperationalError) duplicate column name: step
# the next one ended with 3
# (sqlite3.OperationalError) duplicate column name: step
