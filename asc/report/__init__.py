"""Writes the folder of an evaluation, with its pictures. Only this package imports matplotlib."""
