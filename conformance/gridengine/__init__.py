"""A Grid Engine of one host on one machine, and what is tried on it."""
