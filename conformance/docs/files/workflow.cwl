cwlVersion: v1.2
class: Workflow
inputs:
  text: File
outputs:
  counted: {type: File, outputSource: count/counted}
steps:
  sort: {run: sort.cwl, in: {text: text}, out: [sorted]}
  count: {run: count.cwl, in: {sorted: sort/sorted}, out: [counted]}
