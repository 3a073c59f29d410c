"""The search, on Ray and Optuna. `cluster/study.py` runs it, `conductor.py` decides, the journal records.

Its modules, in the order of a search:

    options settings opening                         what the user asked for; of a resumed search, what its journal says
    plan preview repair disk duration plan_text      checks and estimates before anything is written
    conductor                                        the decisions
        points budgets warm_start                    which points become trials
        sampler tpe local_search                     how a point is drawn
        halving rungs fronts objectives attempts     which trials stop, pause, go on, and are tried again
        finishing final teachers soft_labels         what follows when all trials have ended
    cluster/ trial_files                             Ray: starts processes, gives out trials; their files
    live live_trials                                 what is shown while it runs
    finish leaderboard finalists                     the results on disk and as tables
        budget_table front_table                     with several budgets, with several objectives
    result_page summary exit_code next_commands      the report page, and what the user is told at the end
"""
