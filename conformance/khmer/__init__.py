"""The main job: a k-mer abundance histogram of sequencing reads, by khmer in a container."""
