"""The search: the only home of Ray and Optuna. `study.py` runs it, `conductor.py` decides, the journal records."""
