"""Find the best acoustic scene classifier within a hard size limit.

python launch/search.py --budget-kb 128
python launch/search.py --budget-kb 128 --data esc10:DIR --space idlab128 --trials 40 --time-budget-min 120
python launch/search.py --resume NAME
"""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from asc.console import cli, tables
from asc.search.options import SearchOptions

if TYPE_CHECKING:
    from asc.search.disk import Need
    from asc.search.finish import Summary
    from asc.search.preview import SearchPlan


def main(options: SearchOptions) -> int:
    """Check everything, pack the audio, search, and print the result."""
    options.check_run()  # first, because the imports below take seconds
    from asc.console.progress import packing
    from asc.data.dataset import default_cache
    from asc.runs.bucket import runs_folder
    from asc.search import disk, opening, preview, warm_start
    from asc.search.cluster import environment
    from asc.tracking.address import check_uri

    output = cli.Output(as_json=options.json)
    opened = opening.opened(options)
    settings = opened.settings
    check_uri(settings.mlflow_uri)
    settings.check_address()
    settings.check_machine(options.given())
    plan = preview.plan_search(settings, opened.space, opened.reference)
    cache = (options.cache or default_cache()).resolve()
    wanted = disk.need(plan, cache, ended=opened.ended, ended_finals=opened.ended_finals)
    disk.check_room(wanted, cache=cache, storage=runs_folder(options.storage))
    warm = warm_start.WarmStart()
    if opened.journal is None:  # else the journal has the points
        warm = warm_start.warm_start(plan, options.storage, name=options.run_name())
    _describe(plan, wanted, output, cache=cache, storage=options.storage)
    output.notes(warm.notes)
    if options.dry_run:
        return _dry_run(plan, wanted, output)
    with packing(output.progress) as bar:
        data, notes = preview.pack(plan, cache, bar)
    output.notes(notes)

    environment.prepare(local=settings.local)
    from asc.report.page import doubts, search_page
    from asc.runs.mirror import mirrored
    from asc.search import conductor, finish, live
    from asc.search.cluster import cluster, study
    from asc.tracking.session import browse, tracked

    with ExitStack() as ray, ExitStack() as run, ExitStack() as shown:
        ray.enter_context(cluster.joined(settings, output.say))  # first: if it fails, no run is left behind
        journal = opening.begun(opened, options, plan, warm.points)
        lead = conductor.Conductor(
            journal=journal, space=plan.space, settings=settings, base=plan.base, budget=plan.budget
        )
        run.enter_context(finish.rescued(lead, plan, output.say, search_page))
        output.say(f"searching {journal.path.parent}: {settings.trials} trials, {settings.max_concurrent} at a time")
        run.enter_context(tracked(journal, settings.mlflow_uri, output.say))
        run.enter_context(mirrored(journal, output.say, on_taken_over=lead.halt))
        view = shown.enter_context(live.LiveView(output.progress, lead.record, settings, plan.budget.rule))
        journal.listeners.append(view.heard)
        on_stuck = partial(finish.cut_off, lead, shown, run)
        ending = study.run(lead, settings, data, cache, say=output.say, on_stuck=on_stuck)
        shown.close()
        ray.close()  # Ray's processes must have ended before their leftovers are removed
        summary = finish.finish(lead, plan.space, ending, plan.budget.rule, search_page)
        doubtful = doubts(journal.entries, summary.folder)
        _found(summary, doubtful, output)
    output.result(f"results in {summary.folder}: {', '.join(summary.files())}")
    for purpose, command in finish.commands(summary, settings, browse(summary.folder, settings.mlflow_uri)):
        output.result(f"{purpose}:\n    " + command.replace("\n", "\n    "))
    if summary.page.path is not None:
        output.result(f"read the report in a browser:\n    {summary.page.path}")
    output.json({**finish.summary_json(summary, settings), "doubts": doubtful})
    return finish.exit_code(summary, lead.problem)


def _describe(plan: "SearchPlan", wanted: "Need", output: cli.Output, *, cache: Path, storage: str) -> None:
    """Print the space, how it fits the budget, and what the search needs of the disk and for packing."""
    from asc.search import disk, duration, preview

    output.result(preview.describe(plan))
    output.notes(plan.manifest.takes)
    output.result(disk.describe(wanted, plan, cache=cache, storage=storage))
    if wanted.rates_to_pack:
        output.result(duration.packing(plan, wanted.rates_to_pack))


def _found(summary: "Summary", doubtful: list[str], output: cli.Output) -> None:
    """Print what the search has found: leaderboard, sizes, gain, finalists, and reasons for doubt."""
    from asc.search import finalists, leaderboard

    output.result(leaderboard.table(summary.rows))
    if summary.best is not None:
        output.result(tables.size_table(summary.best_cost()))
        output.result(summary.demands())
    output.result(summary.gained())
    if summary.finals is not None:
        output.result(finalists.table(summary.finals))
        output.result(finalists.sentence(summary.finals))
    for sentence in doubtful:
        output.result(f"doubt: {sentence}")


def _dry_run(plan: "SearchPlan", wanted: "Need", output: cli.Output) -> int:
    """Print how long the search may take and what it needs; return the exit code."""
    from asc.search import disk, duration, preview

    span = duration.minutes(plan)
    output.result(duration.estimate(plan, span))
    output.json({**preview.as_json(plan, span), "disk": disk.as_json(wanted)})
    return cli.DONE


if __name__ == "__main__":
    cli.launch(main, SearchOptions)
