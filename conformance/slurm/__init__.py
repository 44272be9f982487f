"""A Slurm cluster on one machine, and the conformance tests on it."""
