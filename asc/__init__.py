"""asc: acoustic scene classifiers that fit a hard size limit."""
