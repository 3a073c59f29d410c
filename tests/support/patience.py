"""How long a test waits on a slow, busy machine: a limit for things that never happen, not a measured time.

It is far above what anything takes even under ten times the load. pytest's own limit for a test is higher.
"""

PATIENCE_S = 900.0
