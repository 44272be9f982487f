#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
doc: Draws the histogram with a logarithmic count.

requirements:
  DockerRequirement:
    dockerPull: docker.io/cwluserspace/khmer:1
  InitialWorkDirRequirement:
    listing:
      - entryname: plot.gp
        entry: |
          set terminal svg size 800,500 background "white"
          set output "hist.svg"
          set datafile separator ","
          set key off
          set title "k-mer abundance"
          set xlabel "times a k-mer occurs"
          set ylabel "number of such k-mers"
          set logscale y
          set style fill solid
          set boxwidth 0.8
          # Without the header, and without abundance 0, which is always the first.
          plot ARG1 every ::2 using 1:2 with boxes

# -c passes what follows the script to it, as ARG1.
baseCommand: [gnuplot, -c, plot.gp]

inputs:
  histogram:
    type: File
    inputBinding: {position: 1}

outputs:
  plot:
    type: File
    outputBinding: {glob: hist.svg}
