"""Send what is missing of a run to MLflow, and to its bucket if it has one, such as after an outage.

python launch/track.py NAME --mlflow-uri URI
"""

from dataclasses import dataclass
from typing import Annotated

import tyro

from asc.console import cli
from asc.errors import InputError
from asc.runs.bucket import run_bucket, runs_folder
from asc.tracking.address import OFF, default_uri, serve_command, ui_command, ui_url
from asc.tracking.cursor import load_cursor
from asc.tracking.mlflow import send_journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Send to MLflow the events of a run's journal that it does not have yet.

    For a run in a bucket, the files of the working copy that the bucket lacks are sent there first.
    """

    name: Annotated[str, tyro.conf.Positional]
    """Name of the run."""
    storage: Annotated[str, cli.option("DIR|s3://BUCKET/PREFIX")] = "runs"
    """Folder or bucket of the runs."""
    mlflow_uri: Annotated[str | None, cli.option("URI")] = None
    """An MLflow server or database, or none; by default a database beside the run's folder."""


def main(options: Options) -> int:
    """Send what is missing, and print how many events were sent where.

    Raises:
        InputError: there is no such run, MLflow does not accept its events, or the bucket does not accept its files.
    """
    output, runs = cli.Output(as_json=False), runs_folder(options.storage)
    uri, folder = options.mlflow_uri or default_uri(runs), runs / options.name
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
            f"{shipped.problem}; {left} of {options.name} {'is' if shipped.model_waits else 'are'} still to be sent"
        )
    cursor = load_cursor(folder, uri)
    page = ui_url(uri, cursor.experiment_id or "0")
    output.result(f"{shipped.events} events of {options.name} sent to {uri}")
    output.result(f"view them with: {ui_command(uri)}\nthe trials, best first: {page}")
    if cursor.model_uri is not None:
        output.result(f"serve the best model with: {serve_command(uri, cursor.model_uri)}")
    return cli.DONE


if __name__ == "__main__":
    cli.launch(main, Options)
