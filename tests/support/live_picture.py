"""A picture of the live view of a search, as it stood when half of the trials had ended: its journal is told again."""

import io
from collections.abc import Sequence
from unittest.mock import patch

from rich.console import Console

from asc.runs.events import EpochDone
from asc.runs.journal import Entry
from asc.runs.record import add, fold
from asc.search import live
from asc.search.settings import settings_of
from asc.size.rules import rule

_COLUMNS = 90


def live_picture(entries: Sequence[Entry]) -> str:
    """The terminal as HTML that holds an SVG: the lines of the trials that had ended, and the live lines under them."""
    record = fold(entries[:1])
    settings = settings_of(record)
    console = Console(file=io.StringIO(), record=True, force_terminal=True, width=_COLUMNS, highlight=False)
    with patch("time.monotonic") as clock:
        clock.return_value = entries[0].time_s
        view = live.LiveView(console, record, settings, rule(settings.rule))
        for entry in entries[1:]:
            clock.return_value = entry.time_s
            add(record, entry)
            view.heard(entry)
            ended = len(record.trials) - len(record.unfinished)
            at_work = [trial for trial in record.unfinished.values() if trial.epochs]
            if isinstance(entry.event, EpochDone) and 2 * ended >= settings.trials and len(at_work) > 1:
                break
        console.print(view._view())
    drawn = console.export_svg(title=f"python launch/search.py --budget-kb {settings.budget_kb:g}")
    return f'<!DOCTYPE html><meta charset="utf-8"><body style="margin: 0">{drawn}</body>'
