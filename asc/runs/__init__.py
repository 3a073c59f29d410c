"""A run's journal, folder and bucket."""
