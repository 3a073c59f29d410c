"""The search, on Ray and Optuna. `study.py` runs it, `conductor.py` decides, the journal records."""
