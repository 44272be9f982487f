"""Scripts that have shells complete our command line, each made of what help says of the verbs."""
