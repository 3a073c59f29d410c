"""The model file: its tensor layout and header, reading and writing."""
