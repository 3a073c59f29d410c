"""Write the report page of a search again, also while it runs, or one page that compares several searches.

python launch/report.py NAME
python launch/report.py NAME OTHER
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from asc.console import cli
from asc.errors import require


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write a page about one search, or one that compares several, from their journals. It opens in any browser.

    A search writes its page when it ends. Write it again after an evaluation of its best network, which adds the
    confusion matrix, or while the search runs.
    """

    names: Annotated[tuple[str, ...], tyro.conf.Positional, cli.option("NAME [NAME ...]")]
    """Names of the searches."""
    storage: Annotated[str, cli.option("DIR|s3://BUCKET/PREFIX")] = "runs"
    """Folder or bucket of the runs."""
    output: Annotated[Path | None, cli.option("FILE")] = None
    """The page (default: report.html in the folder of the search; for several searches, comparison.html beside their
    folders)."""


def main(options: Options) -> int:
    """Read the journals and write the page.

    Raises:
        InputError: there is no such run, it is not a search, or its journal is damaged.
    """
    names = options.names
    require(len(names) > 0, f"no search was named: give the name of one of those in {options.storage}")
    require(len(set(names)) == len(names), "a search is named twice: give each name once")
    require(
        options.output is None or not options.output.is_dir(), f"{options.output} is a folder: give --output a file"
    )
    from asc.model_file.tensors import write_bytes
    from asc.report.comparison import comparison_page, verdict
    from asc.report.from_journal import search_of
    from asc.report.page import search_page
    from asc.run_files import JOURNAL, REPORT_PAGE
    from asc.runs.folder import readable_run_folder
    from asc.runs.journal import read_journal
    from asc.runs.storage import runs_folder

    folders = [readable_run_folder(options.storage, name) for name in names]
    journals = [read_journal(folder / JOURNAL) for folder in folders]
    for name, entries in zip(names, journals, strict=True):
        require(
            len(entries) > 0,
            f"the journal is empty: the run {name} never started; start it again under another name",
        )
    output = cli.Output(as_json=False)
    if len(folders) == 1:
        page = search_page(journals[0], folders[0])
        path = options.output or folders[0] / REPORT_PAGE
    else:
        searches = [search_of(entries) for entries in journals]
        page = comparison_page(searches)
        output.result(verdict(searches))
        path = options.output or runs_folder(options.storage) / "comparison.html"
    write_bytes(path, page)
    output.result(f"written to {path} ({len(page) / 1e6:.1f} MB): open it in a browser")
    return cli.DONE


if __name__ == "__main__":
    cli.launch(main, Options)
