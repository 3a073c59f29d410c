"""Send what is missing of a run to MLflow, and to its bucket if it has one, such as after an outage.

python launch/track.py NAME
python launch/track.py NAME --mlflow-uri URI
python launch/track.py --rebuild
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from asc.console import cli
from asc.errors import InputError, require
from asc.runs.storage import run_bucket, runs_folder
from asc.tracking.address import OFF, default_uri, serve_command, ui_command
from asc.tracking.cursor import load_cursor
from asc.tracking.mlflow import send_journal
from asc.tracking.session import pages


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Send to MLflow the events of a run's journal that it does not have yet.

    For a run in a bucket, the files of the working copy that the bucket lacks are sent there first.
    """

    name: Annotated[str | None, tyro.conf.Positional, cli.option("[NAME]")] = None
    """Name of the run."""
    rebuild: bool = False
    """Make the tracking database anew from the journals of all runs of the storage, such as after an upgrade of MLflow.
    The old database is kept beside it under another name. If this is interrupted, start it again."""
    storage: Annotated[str, cli.option("DIR|s3://BUCKET/PREFIX")] = "runs"
    """Folder or bucket of the runs."""
    mlflow_uri: Annotated[str | None, cli.option("URI")] = None
    """An MLflow server or database, or none; by default a database beside the run's folder."""


def main(options: Options) -> int:
    """Send what is missing, or make the database anew, and print how many events were sent where.

    Raises:
        InputError: there is no such run, MLflow does not accept its events, or the bucket does not accept its files.
    """
    output, runs = cli.Output(as_json=False), runs_folder(options.storage)
    uri = options.mlflow_uri or default_uri(runs)
    if options.rebuild:
        require(uri != OFF, "--rebuild makes a database: give --mlflow-uri sqlite:///FILE, or leave it out")
        require(options.name is None, f"--rebuild sends every run of {options.storage}: leave out {options.name}")
        return _rebuild(options.storage, uri, output)
    if options.name is None:
        raise InputError(f"no run was named: give the name of one of those in {options.storage}, or --rebuild")
    return _send(options.name, runs / options.name, uri, output)


def _rebuild(storage: str, uri: str, output: cli.Output) -> int:
    from asc.tracking.rebuild import rebuild

    rebuilt = rebuild(storage, uri, output.say)
    output.result(f"{rebuilt.events:,} events of {rebuilt.runs} runs sent to the new database {uri}")
    if rebuilt.kept is not None:
        output.result(f"the old one is kept as {rebuilt.kept}")
    output.result(f"view them with: {ui_command(uri)}")
    return cli.DONE


def _send(name: str, folder: Path, uri: str, output: cli.Output) -> int:
    if (bucket := run_bucket(folder)) is not None:
        from asc.runs.mirror import send

        send(folder, bucket)
        output.result(f"{bucket} has all of {folder}")
    if uri == OFF:
        return cli.DONE
    shipped = send_journal(folder, uri=uri)
    if shipped.problem is not None:
        left = "the best model" if shipped.model_waits else f"{shipped.pending} events"
        raise InputError(
            f"{shipped.problem}; {left} of {name} {'is' if shipped.model_waits else 'are'} still to be sent"
        )
    cursor = load_cursor(folder, uri)
    output.result(f"{shipped.events} events of {name} sent to {uri}")
    output.result("\n".join([f"view them with: {ui_command(uri)}", *pages(folder, uri)]))
    if cursor.model_uri is not None:
        output.result(f"serve the best model with: {serve_command(uri, cursor.model_uri)}")
    return cli.DONE


if __name__ == "__main__":
    cli.launch(main, Options)
