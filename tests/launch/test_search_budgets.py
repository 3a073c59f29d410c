"""A search of three budgets with real Ray: killed, resumed, and one network for each at the end."""

import json
import os
import signal

from mlflow import MlflowClient
from search_bench import Bench, assert_mlflow_agrees, assert_whole, ended, events, wait_for

from asc.model_file.artefact import load_model
from asc.runs.events import EpochDone, TrialAsked
from asc.runs.journal import read_journal
from asc.runs.record import fold

BUDGETS = (2.0, 3.0, 4.0)


def test_a_killed_search_of_three_budgets_ends_with_the_best_network_within_each(bench: Bench) -> None:
    given = ("--trials", "6", "--cycles", "2", "--epochs-per-cycle", "1", "--budget-kb", "2,3,4")
    process = bench.search("budgets", *given)
    run = bench.run("budgets")
    wait_for(lambda: any(isinstance(e, EpochDone) and e.trial == "t003" for e in events(run)), process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    code, out, err = ended(bench.start("--resume", "budgets", "--json"))
    assert code == 0, err
    assert_whole(bench, "budgets")
    asked = [e for e in events(run) if isinstance(e, TrialAsked)]
    assert len(asked) == 6 and {one.budget_kb for one in asked if not one.reference} <= set(BUDGETS)
    record, said = fold(read_journal(run / "journal.jsonl")), json.loads(out)
    assert [one["budget_kb"] for one in said["budgets"]] == list(BUDGETS) and said["budget_kb"] == 4
    for one in said["budgets"]:
        within = [t for t in record.completed() if t.asked.nonzero_bytes <= one["budget_kb"] * 1024]
        assert one["trial"] == within[0].asked.trial and one["reference_log_loss"] >= one["log_loss"]
        folder = run / f"best-{one['budget_kb']:g}kb"
        assert one["model"] == str(folder / "model.safetensors")
        network, info = load_model(folder / "model.safetensors")
        assert info.experiment.flat() == within[0].asked.config
        assert f"within {one['budget_kb']:g} KB" in (folder / "model_card.md").read_text()
    assert (run / "best" / "model.safetensors").read_bytes() == (run / "best-4kb" / "model.safetensors").read_bytes()
    assert "best-2kb/" in err and "The best within each budget" in err
    assert {row["budget_kb"] for row in said["trials"]} <= set(BUDGETS)
    assert "The best within each budget" in (run / "report.html").read_text()
    bench.sent("budgets", err)
    assert_mlflow_agrees(bench, "budgets")
    client = MlflowClient(f"sqlite:///{bench.folder / 'runs' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("asc").experiment_id], max_results=99)
    (parent,) = (found for found in runs if found.info.run_name == "budgets")
    kept = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"best", "best-2kb", "best-3kb", "best-4kb"} < kept
    assert {found.data.tags.get("budget_kb") for found in runs} - {None} <= {"2", "3", "4"}
