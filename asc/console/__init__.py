"""The user interface of the launch scripts: options, tables, progress and warnings."""
