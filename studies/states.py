"""The outcomes of a trial, in Lanewise's words."""

ENDED = ("complete", "failed", "skipped", "stopped_early", "infeasible")
"""States of a trial that will not run again by itself; `waiting`, `running`, `interrupted`, `untimed` are the others."""
