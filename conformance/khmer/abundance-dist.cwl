#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
doc: Tells how many k-mers occur once, twice, and so on.

requirements:
  DockerRequirement:
    dockerPull: docker.io/cwluserspace/khmer:1

baseCommand: abundance-dist.py

inputs:
  counts:
    type: File
    inputBinding: {position: 1}
  reads:
    type: File
    inputBinding: {position: 2}
  name:
    type: string
    default: hist.csv
    inputBinding: {position: 3}

outputs:
  histogram:
    type: File
    outputBinding: {glob: $(inputs.name)}
