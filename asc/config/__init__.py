"""Experiment configs and the search spaces over them."""
