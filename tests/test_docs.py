"""What the documents say and the code knows must agree."""

from collections import Counter
from pathlib import Path

import kikuchipy_cnn
from kikuchipy_cnn.simulation import Disturbances
from kikuchipy_cnn.simulation.phases import load_phase_table

PACKAGE = Path(kikuchipy_cnn.__file__).parent
GUIDE = (Path(__file__).parents[1] / "docs" / "simulation.md").read_text(encoding="utf-8")


def test_camera_model():
    assert Disturbances.table() in GUIDE


def test_numbers_of_phases():
    table = load_phase_table()
    counts = Counter(record.space_group for record in table.values())
    cells = " | ".join(str(counts[number]) for number in range(221, 231))
    assert f"| phases | {cells} |" in GUIDE
    others = [number for number in counts if number < 221]
    assert f"{sum(counts[n] for n in others)} of {len(others)} other groups" in GUIDE
    assert f"{len(table)} phases" in GUIDE


def test_licences():
    sources = [path for path in PACKAGE.rglob("*.py*") if path.suffix in (".py", ".pyi")]
    line = "# SPDX-License-Identifier: GPL-3.0-or-later\n"
    assert [path for path in sources if not path.read_text(encoding="utf-8").startswith(line)] == []
    assert len(sources) > 100
