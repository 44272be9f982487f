"""Measurements beside peers, run by hand."""
