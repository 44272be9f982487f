"""An image with packages, stages and an entrypoint, built with each engine to the same files."""
