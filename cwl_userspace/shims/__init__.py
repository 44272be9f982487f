"""Other people's words: programs of another name, answered by our verbs."""
