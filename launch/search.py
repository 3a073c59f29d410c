"""Find the best acoustic scene classifier within a hard size limit.

python launch/search.py --budget-kb 128
python launch/search.py --budget-kb 128 --data esc10:DIR --space idlab128 --trials 40 --time-budget-min 120
python launch/search.py --resume NAME
"""

from asc import cli, tables
from asc.search.options import Options


def main(options: Options) -> int:
    """Check everything, pack the audio, search, and say what came out."""
    from asc import progress, runs
    from asc.journal import Journal, RunResumed, RunStarted, fold
    from asc.search import environment, preview, resume
    from asc.space import load_space
    from asc.tracking.address import check_uri

    output = cli.Output(as_json=options.json)
    if options.resume:
        journal = Journal(runs.run_folder(options.storage, options.resume) / runs.JOURNAL)
        settings = resume.resumed_settings(fold(journal.entries), options.given())
        space = resume.resumed_space(fold(journal.entries))
    else:
        settings, space = options.settings(), load_space(options.space or "quick")
    check_uri(settings.mlflow_uri)
    plan = preview.plan(settings, space)
    output.result(preview.describe(plan))
    if options.dry_run:
        output.result(preview.estimate(plan))
        output.json(preview.as_json(plan))
        return cli.DONE

    environment.prepare(local=settings.address is None)
    from asc.data.dataset import default_cache
    from asc.search import conductor, finish, leaderboard, live, study
    from asc.tracking.session import browse, tracked

    cache = (options.cache or default_cache()).resolve()
    with progress.packing(output.progress) as bar:
        data = preview.pack(plan, cache, bar)
    if options.resume:
        journal.append(RunResumed(settings=options.given()))
    else:
        journal = Journal(runs.new_run_folder(options.storage, options.run_name()) / runs.JOURNAL)
        start = RunStarted(
            name=journal.path.parent.name,
            kind="search",
            settings=settings.scalars(),
            git_commit=runs.git_commit(),
            space=resume.journalled_space(space),
        )
        journal.append(start)
    lead = conductor.Conductor(journal=journal, space=space, settings=settings, base=plan.base, budget=plan.budget)
    output.say(f"searching {journal.path.parent}: {settings.trials} trials, {settings.max_concurrent} at a time")
    unit = plan.budget.rule.unit_bytes
    with (
        tracked(journal, settings.mlflow_uri, output.say),
        live.LiveView(output.progress, lead.record, settings, unit_bytes=unit) as view,
    ):
        journal.listeners.append(view.heard)
        ending = study.run(lead, settings, data)
        summary = finish.finish(lead, space, ending)
    output.result(leaderboard.table(summary.rows, unit))
    if summary.best is not None:
        output.result(tables.size_table(summary.best_cost()))
    output.result(summary.gained())
    output.result(f"everything lies in {summary.folder}: journal.jsonl, leaderboard.csv, leaderboard.json, best/")
    for purpose, command in finish.commands(summary, settings, browse(summary.folder, settings.mlflow_uri)):
        output.result(f"{purpose}:\n    " + command.replace("\n", "\n    "))
    output.json(finish.summary_json(summary, settings))
    return cli.INTERRUPTED if ending == "interrupted" else cli.DONE


if __name__ == "__main__":
    cli.launch(main, Options)
