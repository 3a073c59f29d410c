"""Runs trials on Ray: the study, workers, groups of workers, and recovery from machine failures."""
