"""Shows that the engine does what the Common Workflow Language asks of it."""
