"""The outcomes of a trial, in Lanewise's words."""

ENDED = ("complete", "failed", "skipped", "stopped_early", "infeasible")
"""States of a trial that will not run again by itself; the others: `waiting`, `running`, `interrupted`, `untimed`."""
