"""Tracking: sends a run's journal to MLflow (https://mlflow.org/docs/latest). Only this package uses MLflow."""
