"""Writing updates to an MLflow database."""

import multiprocessing

from mlflow import MlflowClient

from asc.tracking.store import MlflowStore
from asc.tracking.update import Figure, Head, Update
from asc.tracking.view import views

VIEW_TAG = next(iter(views(1)))

HEAD = Head(trial=None, name="night", start_ms=1, tags={"asc.run": "night-1"})


def test_the_experiment_has_views_and_keeps_files_beside_the_database(database, tmp_path):
    MlflowStore(database, "night-1")
    experiment = MlflowClient(database).get_experiment_by_name("asc")
    assert experiment.artifact_location == f"file://{tmp_path}/store/mlartifacts"
    assert set(views(1)) <= set(experiment.tags)


def test_processes_that_open_a_new_database_at_once_do_not_disturb_each_other(database):
    """MLflow creates its tables in steps, and a second process that finds some of them gives up."""
    fork = multiprocessing.get_context("fork")
    together, said = fork.Barrier(4), fork.Queue()

    def open_it(number):
        together.wait()
        said.put(MlflowStore(database, f"night-{number}").experiment_id)

    processes = [fork.Process(target=open_it, args=(number,)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert len({said.get() for _ in processes}) == 1


def test_a_view_changed_by_the_user_is_kept(database):
    experiment = MlflowStore(database, "night-1").experiment_id
    MlflowClient(database).set_experiment_tag(experiment, VIEW_TAG, "mine")
    MlflowStore(database, "night-2")
    assert MlflowClient(database).get_experiment(experiment).tags[VIEW_TAG] == "mine"


def test_many_params_are_stored_and_long_values_are_cut(database, tmp_path):
    store = MlflowStore(database, "night-1")
    params = {f"key.{n}": "v" for n in range(250)} | {"long": "x" * 9000, "empty": ""}
    store.write([Update(head=HEAD, time_ms=2, params=params, status="RUNNING")], tmp_path)
    found = MlflowClient(database).get_run(store.parent_run_id).data.params
    assert len(found) == 252
    assert found["long"].endswith("...") and len(found["long"]) == 6000


def test_steps_up_to_the_last_are_not_sent_again_with_other_values(database, tmp_path):
    for values in ((1.0, 2.0), (5.0, 6.0, 7.0)):
        store = MlflowStore(database, "night-1")
        figures = [Figure(key="train_loss", value=value, step=step) for step, value in enumerate(values, 1)]
        store.write([Update(head=HEAD, time_ms=step, figures=(f,)) for step, f in enumerate(figures)], tmp_path)
    history = MlflowClient(database).get_metric_history(store.parent_run_id, "train_loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 1.0), (2, 2.0), (3, 7.0)]


def test_a_run_that_waits_is_scheduled_and_has_no_end(database, tmp_path):
    store = MlflowStore(database, "night-1")
    found = []
    for status in ("SCHEDULED", "RUNNING", "FINISHED"):
        store.write([Update(head=HEAD, time_ms=9, status=status)], tmp_path)
        info = MlflowClient(database).get_run(store.parent_run_id).info
        found.append((info.status, info.end_time))
    assert found == [("SCHEDULED", None), ("RUNNING", None), ("FINISHED", 9)]
