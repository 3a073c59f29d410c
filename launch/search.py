"""Find the best acoustic scene classifier within a hard size limit.

python launch/search.py --budget-kb 128
python launch/search.py --budget-kb 128 --data esc10:DIR --space idlab128 --trials 40 --time-budget-min 120
python launch/search.py --resume NAME
"""

from typing import TYPE_CHECKING

from asc.console import cli
from asc.search.options import SearchOptions

if TYPE_CHECKING:
    from asc.api.searching import Prepared


def main(options: SearchOptions) -> int:
    """Check everything, search, and print the result and what to do next."""
    options.check_run()  # first, because the imports below take seconds
    from asc.api import searching

    output = cli.Output(as_json=options.json, quiet=options.quiet)
    ready = searching.prepared(options, output)
    if options.dry_run:
        return _dry_run(ready, output)
    found = searching.searched(ready, options, output)
    from asc.search.exit_code import exit_code  # imports Ray, whose environment is set now
    from asc.search.next_commands import commands
    from asc.search.summary import summary_json

    summary = found.summary
    output.result(f"results in {summary.folder}: {', '.join(summary.files())}")
    for purpose, command in commands(summary, found.settings, found.browse):
        output.result(f"{purpose}:\n    " + command.replace("\n", "\n    "))
    if summary.page.path is not None:
        output.result(f"read the report in a browser:\n    {summary.page.path}")
    output.json({**summary_json(summary, found.settings), "doubts": found.doubts})
    return exit_code(summary, found.problem)


def _dry_run(ready: "Prepared", output: cli.Output) -> int:
    """Print how long the search may take and what it needs; return the exit code."""
    from asc.search import disk, duration, plan_text

    span = duration.minutes(ready.plan)
    output.result(duration.estimate(ready.plan, span))
    output.json({**plan_text.as_json(ready.plan, span), "disk": disk.as_json(ready.wanted)})
    return cli.DONE


if __name__ == "__main__":
    cli.launch(main, SearchOptions)
