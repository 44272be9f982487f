"""What is published: a source archive, a wheel and a single file, and what is checked of them."""
