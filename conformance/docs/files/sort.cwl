cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement: {dockerPull: debian:stable-slim}
baseCommand: sort
inputs:
  text: {type: File, inputBinding: {position: 1}}
outputs:
  sorted: {type: stdout}
