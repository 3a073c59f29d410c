"""Send to MLflow what it does not have of a run, such as after an outage.

python launch/track.py NAME --mlflow-uri URI
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from asc import cli
from asc.errors import InputError
from asc.tracking.address import default_uri, ui_command, ui_url
from asc.tracking.cursor import load_cursor
from asc.tracking.mlflow import send_journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Send to MLflow what it does not have of a run's journal; what it has is not sent again."""

    name: Annotated[str, tyro.conf.Positional]
    """Name of the run."""
    storage: Annotated[Path, cli.option("DIR")] = Path("runs")
    """Folder that holds all runs."""
    mlflow_uri: Annotated[str | None, cli.option("URI")] = None
    """An MLflow server or database; by default a database under --storage."""


def main(options: Options) -> int:
    """Send, and say how many events went where.

    Raises:
        InputError: there is no such run, or MLflow does not take its events.
    """
    uri = options.mlflow_uri or default_uri(options.storage)
    folder = options.storage / options.name
    shipped = send_journal(folder, uri=uri)
    if shipped.problem is not None:
        raise InputError(f"{shipped.problem}: {shipped.pending} events of {options.name} are still to be sent")
    page = ui_url(uri, load_cursor(folder, uri).experiment_id or "0")
    output = cli.Output(as_json=False)
    output.result(f"{shipped.events} events of {options.name} sent to {uri}")
    output.result(f"look at them with: {ui_command(uri)}\nthe trials, best first: {page}")
    return cli.DONE


if __name__ == "__main__":
    cli.launch(main, Options)
