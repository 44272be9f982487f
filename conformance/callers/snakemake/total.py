"""Executed by Snakemake in the container, with its own modules mounted and ``snakemake`` given."""

import os
from pathlib import Path

given = globals()["snakemake"]
lines = [Path(name).read_text().splitlines() for name in given.input]
with open(given.output[0], "w") as file:
    print(sum(int(count) for count, _ in lines), file=file)
    print(os.environ["APPTAINER_NAME"], os.getuid(), file=file)
    file.writelines(f"{note}\n" for _, note in lines)
