"""Gated timing on a shared host: the clock's state, the host lock, the gate, and what is measured with them."""
