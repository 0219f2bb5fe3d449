"""Figures: one file per plot, pure data first, drawing second."""
