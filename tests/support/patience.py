"""How long a test waits for what a busy machine does slowly: a limit for what never comes, not a time that is measured.

It is far above what anything takes on a machine with ten times the work; pytest's own limit for a test is above it.
"""

PATIENCE_S = 900.0
