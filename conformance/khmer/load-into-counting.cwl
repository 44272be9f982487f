#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
doc: Counts how often each k-mer occurs in the reads.

requirements:
  DockerRequirement:
    dockerPull: docker.io/cwluserspace/khmer:1

baseCommand: load-into-counting.py

inputs:
  memory:
    type: string
    doc: Bytes for the counters, as khmer takes it, such as 1e8.
    inputBinding: {prefix: -M, position: 1}
  ksize:
    type: int
    inputBinding: {prefix: -k, position: 1}
  name:
    type: string
    default: reads.ct
    inputBinding: {position: 2}
  reads:
    type: File
    inputBinding: {position: 3}

outputs:
  counts:
    type: File
    outputBinding: {glob: $(inputs.name)}
