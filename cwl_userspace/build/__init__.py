"""A Dockerfile becomes an image, by running its steps with an engine."""
