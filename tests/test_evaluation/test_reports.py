import csv

import numpy as np
import pytest
from orix.quaternion import Rotation


class TestFiles:
    def test_predictions(self, make, tmp_path):
        rotation = np.full((10, 4), np.nan)
        rotation[1] = Rotation.from_euler([[10, 20, 30]], degrees=True).data
        predicted = [*make.predicted[:9], None]
        quality = np.linspace(0.1, 0.9, 10)
        found = make(predicted, rotation=rotation, quality=quality)
        path = tmp_path / "predictions.csv"
        found.save_predictions(path)
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 10
        assert rows[1] == {
            **{"file": "", "map": "map", "grain": "", "index": "1", "material": "Ni3Al"},
            **{"space group": "221", "true": "221", "predicted": "225", "score": "0.75"},
            **{"quality": "0.188889", "p_221": "0.125", "p_225": "0.75", "p_229": "0.125"},
            **{"phi1": "10", "Phi": "20", "phi2": "30"},
        }
        assert rows[0]["phi1"] == ""
        last = rows[-1]
        assert (last["predicted"], last["score"], last["p_221"]) == ("-1", "", "")
        right = [row["true"] == row["predicted"] for row in rows]
        assert np.mean(right) == found.accuracy
        with pytest.raises(FileExistsError, match="overwrite=True"):
            found.save_predictions(path)
        make(make.true).save_predictions(path, overwrite=True)
        with open(path, newline="") as file:
            assert [row["quality"] for row in csv.DictReader(file)] == [""] * 10
        assert [i.name for i in tmp_path.iterdir()] == ["predictions.csv"]

    def test_report(self, make, tmp_path):
        text = make().report()
        assert text.splitlines()[0] == (
            "7 of 10 patterns are right: 0.700 (0.397-0.892), by chance 0.333"
        )
        assert "221 Pm-3m          0.667   0.500  0.150-0.850  0.571         4" in text
        assert "Ni                225    28.0     0.750  0.301-0.954         4" in text
        path = tmp_path / "report.csv"
        make().save_report(path)
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["kind"] for row in rows] == [
            *["class"] * 3,
            "weighted mean",
            "mean",
            *["material"] * 4,
        ]
        assert float(rows[0]["F1"]) == pytest.approx(4 / 7)
        assert rows[-1]["name"] == "Fe-bcc" and rows[-1]["mean atomic number"] == "26.0"
        assert float(rows[-1]["recall"]) == 1
        assert {row["claims"] for row in rows} == {""}
        with pytest.raises(FileExistsError):
            make().save_report(path)

    def test_claims(self, make, tmp_path):
        found = make(claims="new grains")
        assert found.report().splitlines()[:2] == [
            "7 of 10 patterns, claimed to be of new grains, are right: 0.700 (0.397-0.892), "
            "by chance 0.333",
            "",
        ]
        path = tmp_path / "report.csv"
        found.take(np.arange(4)).save_report(path)
        with open(path, newline="") as file:
            assert {row["claims"] for row in csv.DictReader(file)} == {"new grains"}
        with pytest.raises(ValueError, match="claims='all' must be one of 'new patterns', "):
            make(claims="all")
