"""Ways to run a container: each turns a ContainerSpec into a Launch, a value without effects."""
