"""Measure how long the package and its command take to start.

    python benchmarks/imports.py

Each statement runs in fresh processes, in turns. Prints a table in Markdown.
"""

from __future__ import annotations

import subprocess
import sys

import machine
import numpy as np

N_ROUNDS = 9
_COMMAND = "import sys; from kikuchipy_cnn.cli import main; sys.exit(main())"
_TIMED = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
STATEMENTS = {
    "`import kikuchipy`": "import kikuchipy",
    "`import kikuchipy_cnn`": "import kikuchipy_cnn",
    "`from kikuchipy.signals import EBSD`": "from kikuchipy.signals import EBSD",
    "the same after `import kikuchipy_cnn`": (
        "import kikuchipy_cnn; from kikuchipy.signals import EBSD"
    ),
}
COMMANDS = {
    f"`kikuchipy-cnn {arguments}`": arguments.split()
    for arguments in ("--help", "classify --help", "train --help", "watch --help")
}


def main() -> None:
    print(f"{machine.describe()}\n")
    seconds: dict[str, list[float]] = {key: [] for key in (*STATEMENTS, *COMMANDS)}
    for _ in range(N_ROUNDS):
        for label, statement in STATEMENTS.items():
            output = _run(["-c", _TIMED.format(statement)])
            seconds[label].append(float(output.splitlines()[-1]))
        for label, arguments in COMMANDS.items():
            command = ["-c", _COMMAND, *arguments]
            seconds[label].append(machine.seconds_of(lambda command=command: _run(command)))
    print("| | s (median) | ratio |\n|---|---|---|")
    medians = {label: float(np.median(values)) for label, values in seconds.items()}
    labels = iter(STATEMENTS)
    for first, second in zip(labels, labels, strict=True):
        print(f"| {first} | {medians[first]:.3f} | |")
        ratio = medians[second] / medians[first]
        print(f"| {second} | {medians[second]:.3f} | {ratio:.2f} |")
    for label in COMMANDS:
        print(f"| {label}, the whole process | {medians[label]:.3f} | |")


def _run(arguments: list[str]) -> str:
    result = subprocess.run(
        [sys.executable, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    return result.stdout


if __name__ == "__main__":
    main()
