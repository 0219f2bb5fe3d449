"""Sound quality per utterance: a registry of metrics (one file each), a process pool and reference systems.

Start at `registry.METRICS` (what exists), `scoring.score_pair` (one pair) and `pool.SoundPool` (many pairs).
"""
