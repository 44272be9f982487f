cwlVersion: v1.2
class: CommandLineTool
requirements:
  DockerRequirement: {dockerPull: "docker.io/library/debian:stable-slim"}
baseCommand: [uniq, -c]
inputs:
  sorted: {type: File, inputBinding: {position: 1}}
outputs:
  counted: {type: stdout}
