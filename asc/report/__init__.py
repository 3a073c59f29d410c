"""Writes the report page of a search, and the folder of an evaluation. Only it imports matplotlib and Plotly."""
