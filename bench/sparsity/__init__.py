"""Sparsity structures: tile geometry, regularizers, lambda control, pruners, schedules and masks.

`tile`, `count` and `schedule` are plain Python, so that a configuration is checked without loading torch.
"""
