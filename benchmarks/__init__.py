"""Figures beside redis-py, taken in one run: ``python -m benchmarks``."""
