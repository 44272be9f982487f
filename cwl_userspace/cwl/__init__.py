"""The only room that imports cwltool: our handler of a DockerRequirement."""
