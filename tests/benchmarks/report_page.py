"""Write the report page of a synthetic search and say how long that takes and how large the page is.

    python tests/benchmarks/report_page.py --trials 1000

The journal has networks within the budget and made-up log losses; every second trial stopped at the first rung. Prints
one JSON object: seconds to read the journal and to make the page, without the start of Python, and the page's bytes;
where Chromium and its driver are installed, also the seconds until it has opened the page (the fastest of three).
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from synthetic_journal import reference, settings, write_journal

from asc.report.page import search_page
from asc.runs.journal import read_journal

_SUPPORT = Path(__file__).resolve().parents[1] / "support"
_OPENED_MS = "return performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"


def opened_s(page: bytes, folder: Path) -> float | None:
    """The seconds until Chromium has the page's document; None where it is not installed."""
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        return None
    sys.path.insert(0, str(_SUPPORT))
    from browser import Browser

    (folder / "report.html").write_bytes(page)
    window, found = Browser(), []
    try:
        for _ in range(3):
            window.open((folder / "report.html").as_uri())
            found.append(float(window.run(_OPENED_MS)) / 1000)
    finally:
        window.close()
    return min(found)


def main() -> None:
    """Write the journal, then read it and make the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000, metavar="N", help="default 1000")
    parser.add_argument("--cycles", type=int, default=3, metavar="N", help="default 3")
    parser.add_argument("--epochs-per-cycle", type=int, default=6, metavar="N", help="default 6")
    parser.add_argument("--output", type=Path, metavar="FILE", help="keep the page here")
    options = parser.parse_args()
    base = reference(cycles=options.cycles, epochs_per_cycle=options.epochs_per_cycle)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        write_journal(path, trials=options.trials, base=base, chosen=settings(trials=options.trials, slots=4))
        began_s = time.perf_counter()
        entries = read_journal(path)
        read_s = time.perf_counter()
        page = search_page(entries, Path(folder))
        made_s = time.perf_counter()
        opened = opened_s(page, Path(folder))
    if options.output is not None:
        options.output.write_bytes(page)
    print(
        json.dumps(
            {
                "trials": options.trials,
                "events": len(entries),
                "read_s": round(read_s - began_s, 3),
                "page_s": round(made_s - read_s, 3),
                "page_bytes": len(page),
                "opened_s": None if opened is None else round(opened, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
