"""Tracking: what a run's journal says, sent elsewhere. The only home of MLflow (https://mlflow.org/docs/latest)."""
