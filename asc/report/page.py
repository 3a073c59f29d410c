"""The report page of one search, from its journal: what was found, how sure that is, what mattered, what next."""

import time
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from asc.errors import counted
from asc.report import commands
from asc.report.advice import advice
from asc.report.best import BestFiles, best_files
from asc.report.best_figures import best_figures
from asc.report.cautions import cautions, of_the_best
from asc.report.document import Section, command_block, document, folded, listed, paragraph
from asc.report.figures import COSTS, VALUES, curves, reached, tradeoff
from asc.report.finalists import finalists
from asc.report.from_journal import search_of
from asc.report.importance import FEWEST_TRIALS, Importance, importance
from asc.report.measure import interval_of
from asc.report.mistakes import Mistakes, players
from asc.report.page_tables import beside, budgets, ends, leaderboard, number, outcomes, percent
from asc.report.parameter_figures import by_parameter, importance_bars, parallel
from asc.report.plot import MOST_TRIALS
from asc.report.trials import Search, Trial
from asc.results import Interval, words
from asc.runs.journal import Entry


def search_page(entries: Sequence[Entry], folder: Path) -> bytes:
    """The page of the search whose journal has these entries and whose other files are in `folder`.

    Raises:
        InputError: the journal is empty or contradicts itself, or the run is a training.
    """
    search = search_of(entries)
    files, mattered = best_files(search, folder), importance(search)
    interval = _interval(search, files)
    return document(search.name, _lead(search), list(_sections(search, files, mattered, interval, folder)))


def doubts(entries: Sequence[Entry], folder: Path) -> list[str]:
    """Reasons to doubt the best network, to print at the end of a search. Raises as `search_page`."""
    search = search_of(entries)
    return of_the_best(search, _interval(search, best_files(search, folder)))


def _interval(search: Search, files: BestFiles) -> Interval | None:
    """The interval of the saved network's figure, from the journal or, if that is of asc 0.1, from the model file."""
    known = None if search.saved is None else interval_of(search.saved, search.rank_by)
    found = files.best.intervals if files.best is not None else None
    if known is not None or found is None:
        return known
    return found.log_loss if search.rank_by == "log_loss" else found.accuracy


def _sections(
    search: Search, files: BestFiles, mattered: Importance | None, interval: Interval | None, folder: Path
) -> Iterator[Section]:
    yield Section(
        key="best", title="The best network", body=_cards(search) + listed(cautions(search, interval), "cautions")
    )
    if finished := finalists(search):
        yield Section(key="finalists", title="Finalists", body=finished)
    compared = "best network" if search.shipped is None else "best of the search"
    yield Section(key="reference", title=f"The {compared} and the reference", body=beside(search))
    if search.trials:
        yield Section(key="leaderboard", title="Leaderboard", body=_note(search) + leaderboard(search))
    if search.completed and search.smaller_kb:
        yield Section(key="budgets", title="The best within each budget", body=budgets(search))
    if search.completed:
        drawn = tuple(tradeoff(search, cost, value) for cost in COSTS for value in VALUES)
        yield Section(key="front", title="Quality against size and work", figures=drawn)
    if any(trial.curve for trial in search.trials):
        progress = (reached([search]),) if search.reached else ()
        yield Section(key="curves", title="Training", body=_curves_note(search), figures=(curves(search), *progress))
    yield Section(key="outcomes", title="How trials ended, and what they cost", body=outcomes(search))
    yield Section(
        key="importance",
        title="What mattered",
        body=paragraph(_importance_note(mattered)),
        figures=() if mattered is None else (importance_bars(mattered),),
    )
    yield Section(key="parameters", title="Log loss against each parameter", figures=tuple(by_parameter(search)))
    yield Section(key="parallel", title="All parameters at once", figures=tuple(parallel(search)))
    if search.best is not None:
        yield Section(
            key="mistakes",
            title="Where the best network errs",
            body=_mistakes(files, folder),
            figures=tuple(best_figures(files)),
        )
    yield Section(key="next", title="What to try next", body=_next(search, mattered, interval, folder))
    yield Section(key="again", title="How to repeat it", body=_again(search))


def _lead(search: Search) -> str:
    """What was searched, where, within what, and how far it is."""
    settings, space = search.settings, (search.record.started.space or "").partition("\n")[0]
    began = time.strftime("%Y-%m-%d %H:%M", time.gmtime(search.record.started_at_s))
    asked, ended = settings.get("trials"), len(search.trials)
    trials = f"{ended:,} of {counted(asked, 'trial')}" if isinstance(asked, int) else counted(ended, "trial")
    sentence = (
        f"Search of the space {space or '(none)'} within {_budgets(search)} KB under {search.rule.name}, on "
        f"{settings.get('data', 'unknown data')}; {search.state}, {trials}, "
        f"{counted(search.epochs, 'epoch')}, begun {began} UTC."
    )
    return f'<p class="note">{escape(sentence)}</p>'


def _budgets(search: Search) -> str:
    """The budget or the budgets, the smallest first, for a sentence."""
    return ", ".join(f"{budget:g}" for budget in (*search.smaller_kb, search.limit_kb))


def _cards(search: Search) -> str:
    best = search.saved
    if best is None:
        return ""
    limit = "" if search.most_mmacs_per_s is None else f"of at most {search.most_mmacs_per_s:g}"
    cards = [
        _named(search, best),
        ("log loss", number(best.log_loss, 3), ends(best.log_loss_interval, ".3f")),
        ("accuracy", percent(best.accuracy), ends(best.accuracy_interval, ".1%")),
        ("KB", f"{best.kilobytes:.1f}", f"of {search.limit_kb:g} under {search.rule.name}"),
        ("model file, bytes", f"{best.file_bytes:,}", ""),
        ("MMAC/s", f"{best.mmacs_per_s:.1f}", limit),
        ("peak RAM, KB", f"{best.ram_kb:,.0f}", "for 10 s"),
        *_best_of_search(search),
    ]
    shown = "".join(
        f"<div><small>{escape(name)}</small><b>{escape(value)}</b><small>{escape(more)}</small></div>"
        for name, value, more in cards
    )
    return f'<div class="cards">{shown}</div>'


def _named(search: Search, saved: Trial) -> tuple[str, str, str]:
    """The card that names the saved network."""
    if search.shipped is None:
        return "trial", saved.name, "the reference" if saved.reference else f"of {len(search.completed)} completed"
    figures = f"log loss {number(saved.log_loss, 3)}, accuracy {percent(saved.accuracy)} on validation"
    return "saved as best, a final", saved.name, figures


def _best_of_search(search: Search) -> Iterator[tuple[str, str, str]]:
    """The card of the best trial, where a final is saved instead."""
    best = search.best
    if search.shipped is not None and best is not None:
        yield "best of the search", best.name, f"log loss {number(best.log_loss, 3)}, accuracy {percent(best.accuracy)}"


def _note(search: Search) -> str:
    text = (
        f"Completed trials are ranked by the {words(search.rank_by)} of the stored network on validation clips; the "
        "others show their "
    )
    text += "last epoch. A click on a column's name sorts by it."
    if len(search.trials) > MOST_TRIALS:
        text += f" The first {MOST_TRIALS:,} are shown here and in the figures of parameters; leaderboard.csv has all."
    if search.completed and not any(trial.log_loss_interval for trial in search.completed):
        text += " The journal holds no intervals."
    return paragraph(text)


def _curves_note(search: Search) -> str:
    text = "Dotted lines are the ends of learning rate cycles"
    text += "; dashed ones are rungs, where early stopping compared trials." if search.rungs else "."
    return paragraph(text)


def _importance_note(found: Importance | None) -> str:
    if found is None:
        return f"Importance needs {FEWEST_TRIALS} completed trials with points of the space."
    return (
        f"How much the best {found.best_share:.0%} of {found.trials} completed trials differ from all of them in each "
        "parameter (PED-ANOVA). It does not say in which direction: the figures below do."
    )


def _mistakes(files: BestFiles, folder: Path) -> str:
    if files.best is None:
        return paragraph("The run's folder holds no model file of the best network yet.")
    if files.matrix is None:
        text = (
            "For the confusion matrix, the reliability diagram and the misclassified clips, evaluate it and write this "
            "page again:"
        )
        return paragraph(text) + command_block(f"{commands.evaluate(folder)}\n{commands.rebuild(folder)}")
    return "" if files.mistakes is None else _clips(files.mistakes)


def _clips(mistakes: Mistakes) -> str:
    """How many validation clips were misclassified, and a player for each of the surest mistakes."""
    shown = len(mistakes.clips)
    text = f"{mistakes.total:,} validation clips are misclassified."
    if shown:
        which = "All of them" if shown == mistakes.total else f"The {shown} of which the network was surest"
        text += f" {which}, the first seconds of each, as the network hears them:"
    return paragraph(text) + players(mistakes)


def _next(search: Search, mattered: Importance | None, interval: Interval | None, folder: Path) -> str:
    return "".join(
        paragraph(one.text) + (command_block(one.command) if one.command else "")
        for one in advice(search, mattered, interval, folder)
    )


def _again(search: Search) -> str:
    started, space = search.record.started, commands.space_option(search)
    commit = f" Code: commit {started.git_commit}." if started.git_commit else ""
    saved = f" Save the space below as {space} first." if space.endswith(".toml") else ""
    text = f"{_repeats(search)}{commit}{saved}"
    options = "\n".join(f"{key} = {value}" for key, value in search.settings.items())
    folds = folded("Options", options)
    if started.space:
        folds += folded("Space", started.space.partition("\n")[2])
    return command_block(commands.reproduce(search)) + paragraph(text) + folds


def _repeats(search: Search) -> str:
    """Whether the command repeats the search to the last digit, and if it does not, why."""
    kind = "to the last digit, on the same kind of processor"
    if changed := search.changed:
        options = ", ".join(f"--{key.replace('_', '-')}" for key in changed)
        return f"A resume changed its options ({options}), so another run may draw other points."
    if search.settings.get("max_concurrent") == 1:
        return f"It had one trial at a time (--max-concurrent 1), so the command repeats it {kind}."
    return (
        "It had several trials at a time, so another run draws other points. With --max-concurrent 1 a search can be "
        f"repeated {kind}."
    )
