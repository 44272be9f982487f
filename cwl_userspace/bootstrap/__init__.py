"""A distribution's minimal system made of its packages: a root file system without Docker."""
