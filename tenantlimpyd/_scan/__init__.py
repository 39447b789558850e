"""Scans over the keys of many databases."""
