#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: Workflow
doc: From sequencing reads to a histogram of k-mer abundance, and its plot.

inputs:
  reads: File
  ksize: int
  memory: string

steps:
  count:
    run: load-into-counting.cwl
    in: {reads: reads, ksize: ksize, memory: memory}
    out: [counts]
  distribution:
    run: abundance-dist.cwl
    in: {counts: count/counts, reads: reads}
    out: [histogram]
  draw:
    run: plot.cwl
    in: {histogram: distribution/histogram}
    out: [plot]

outputs:
  histogram:
    type: File
    outputSource: distribution/histogram
  plot:
    type: File
    outputSource: draw/plot
