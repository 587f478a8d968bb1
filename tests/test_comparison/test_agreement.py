import csv

import numpy as np
import pytest
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation

from kikuchipy_cnn.comparison import compare_phase_maps
from kikuchipy_cnn.comparison.agreement import Disagreement

NETWORK = [225, 225, 229, 229, 225, -1]
HOUGH = [225, 229, 229, 229, 221, 225]
TRUTH = [225, 225, 229, 229, 225, 225]
CONFIDENCE = [0.9, 0.8, 0.7, 0.6, 0.8, 0]
QUALITY = [10, 20, 30, 40, 50, 60]
PHASES = {
    221: Phase("Ni3Al", space_group=221),
    225: Phase("Ni", space_group=225),
    229: Phase("Fe-bcc", space_group=229),
}


def make(ids, phases=PHASES, shape=(2, 3), steps=(1, 2), is_in_data=None, **properties):
    y, x = (i.ravel() for i in np.indices(shape))
    ids = np.array(ids)
    return CrystalMap(
        rotations=Rotation.identity((ids.size,)),
        phase_id=ids,
        x=steps[1] * x if shape[1] > 1 else None,
        y=steps[0] * y if shape[0] > 1 else None,
        phase_list=PhaseList({i: phase for i, phase in phases.items() if i in ids}),
        prop={name: np.array(values) for name, values in properties.items()},
        scan_unit="um",
        is_in_data=is_in_data,
    )


@pytest.fixture
def network():
    return make(NETWORK, scores=CONFIDENCE, iq=QUALITY)


@pytest.fixture
def hough():
    return make(HOUGH)


@pytest.fixture
def comparison(network, hough):
    return compare_phase_maps(network, hough, names=["network", "Hough"], truth=TRUTH)


class TestTwoMaps:
    def test_contents(self, comparison):
        assert comparison.names == ("network", "Hough")
        assert comparison.labels == (221, 225, 229, "not indexed")
        assert comparison.codes.tolist() == [[1, 1, 2, 2, 1, 3], [1, 2, 2, 2, 0, 1]]
        assert comparison.true_codes.tolist() == [1, 1, 2, 2, 1, 1]
        assert comparison.index.tolist() == [0, 1, 2, 3, 4, 5]
        assert comparison.shape == (2, 3)
        assert comparison.confidence.tolist() == CONFIDENCE
        assert comparison.quality.tolist() == QUALITY
        assert comparison.indexed.tolist() == [[True] * 5 + [False], [True] * 6]
        assert comparison.n_agreeing.tolist() == [1, 0, 1, 1, 0, 0]

    def test_repr(self, comparison):
        assert repr(comparison) == (
            "PhaseComparison(6 points of network, Hough; network = Hough: 60.0%)"
        )

    @pytest.mark.parametrize("names", [("network", "Hough"), (0, 1), ("Hough", 0)])
    def test_agreement(self, comparison, names):
        """In three of the five points that both have indexed."""
        assert comparison.agreement(*names) == pytest.approx(3 / 5)

    def test_agreement_with_the_truth(self, comparison):
        assert comparison.agreement("network", "truth") == 1
        assert comparison.agreement("truth", "Hough") == pytest.approx(4 / 6)

    def test_kappa(self, comparison):
        """Of 3 of 6 points, where 3/6 * 2/6 + 2/6 * 3/6 = 1/3 are so by chance."""
        expected = (1 / 2 - 1 / 3) / (1 - 1 / 3)
        assert comparison.kappa("network", "Hough") == pytest.approx(expected)
        assert comparison.kappa("network", "network") == 1

    def test_confusion(self, comparison):
        counts, rows, columns = comparison.confusion("network", "Hough")
        assert rows == columns == (221, 225, 229, "not indexed")
        assert counts.tolist() == [[0, 0, 0, 0], [1, 1, 1, 0], [0, 0, 2, 0], [0, 1, 0, 0]]
        other_way, *_ = comparison.confusion("Hough", "network")
        assert other_way.tolist() == counts.T.tolist()

    def test_confusion_table(self, comparison):
        assert comparison.confusion_table("network", 1).splitlines() == [
            r"network \ Hough  221 Pm-3m  225 Fm-3m  229 Im-3m",
            "225 Fm-3m                1          1          1",
            "229 Im-3m                0          0          2",
            "not indexed              0          1          0",
        ]
        first = comparison.confusion_table("truth", "network").splitlines()[0]
        assert first == r"truth \ network  225 Fm-3m  229 Im-3m  not indexed"

    def test_area_fractions(self, comparison):
        fractions = comparison.area_fractions()
        assert list(fractions) == ["network", "Hough", "truth"]
        expected = {
            "network": [0, 3 / 6, 2 / 6, 1 / 6],
            "Hough": [1 / 6, 2 / 6, 3 / 6, 0],
            "truth": [0, 4 / 6, 2 / 6, 0],
        }
        for name, of in fractions.items():
            assert list(of) == [221, 225, 229, "not indexed"]
            assert list(of.values()) == pytest.approx(expected[name])

    def test_accuracy(self, comparison):
        assert comparison.accuracy("network") == pytest.approx(5 / 6)
        assert comparison.accuracy(1) == pytest.approx(4 / 6)

    def test_impossible_phases(self, comparison):
        """Being not indexed is not impossible."""
        assert comparison.n_impossible("network") == 0
        assert comparison.n_impossible("Hough") == 1

    def test_disagreements(self, comparison):
        """The surest first, and of those the clearest."""
        assert comparison.disagreements() == [
            Disagreement(4, 1, 1, (225, 221), 0.8, 50.0, 225),
            Disagreement(1, 0, 1, (225, 229), 0.8, 20.0, 225),
            Disagreement(5, 1, 2, ("not indexed", 225), 0.0, 60.0, 225),
        ]

    def test_table(self, comparison):
        assert comparison.table().splitlines() == [
            "Part of the points  221 Pm-3m  225 Fm-3m  229 Im-3m  not indexed",
            "network                  0.0%      50.0%      33.3%        16.7%",
            "Hough                   16.7%      33.3%      50.0%         0.0%",
            "truth                    0.0%      66.7%      33.3%         0.0%",
            "",
            "Agreement          Same, of both indexed  Cohen's kappa",
            "network and Hough                  60.0%          0.250",
            "",
            "Against the truth  Right  Right, of indexed  Impossible phases",
            "network            83.3%             100.0%                  0",
            "Hough              66.7%              66.7%                  1",
        ]

    def test_saved_disagreements(self, comparison, tmp_path):
        path = tmp_path / "differ.csv"
        comparison.save_disagreements(path)
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == [
            *("index", "row", "column", "network", "Hough", "confidence", "quality", "truth")
        ]
        assert [row["index"] for row in rows] == ["4", "1", "5"]
        assert list(rows[2].values()) == ["5", "1", "2", "not indexed", "225", "0.0", "60.0", "225"]

    def test_files_are_not_overwritten(self, comparison, tmp_path):
        path = tmp_path / "differ.csv"
        path.write_text("mine")
        with pytest.raises(FileExistsError):
            comparison.save_disagreements(path)
        assert path.read_text() == "mine"
        comparison.save_disagreements(path, overwrite=True)
        assert path.read_text().startswith("index,row")
        with pytest.raises(FileNotFoundError):
            comparison.save_disagreements(tmp_path / "missing" / "differ.csv")


class TestWithoutTruth:
    def test_it_is_not_there(self, network, hough, tmp_path):
        comparison = compare_phase_maps(network, hough)
        assert comparison.names == ("map 1", "map 2") and comparison.true_codes is None
        assert list(comparison.area_fractions()) == ["map 1", "map 2"]
        assert comparison.disagreements()[0].truth is None
        assert "truth" not in comparison.table()
        comparison.save_disagreements(tmp_path / "differ.csv")
        assert "truth" not in (tmp_path / "differ.csv").read_text()

    @pytest.mark.parametrize(
        "ask",
        [
            lambda c: c.accuracy(0),
            lambda c: c.n_impossible(0),
            lambda c: c.agreement(0, "truth"),
            lambda c: c.kappa("truth", 0),
        ],
    )
    def test_is_not_known(self, network, hough, ask):
        with pytest.raises(ValueError, match="truth is not known: pass truth="):
            ask(compare_phase_maps(network, hough))

    def test_unknown_map(self, network, hough, comparison):
        with pytest.raises(ValueError, match="Map 'EBSD' must be one of 'map 1', 'map 2'$"):
            compare_phase_maps(network, hough).agreement(0, "EBSD")
        with pytest.raises(ValueError, match="Map 'EBSD' must be one of .*'Hough', 'truth'$"):
            comparison.accuracy("EBSD")


class TestThreeMaps:
    def test_agreement_map(self, network, hough):
        """Points that one of the maps has no data of are left out."""
        in_data = np.arange(6) != 3
        third = make([225, 225, 225, 229, 225, -1], is_in_data=in_data)
        comparison = compare_phase_maps(network, hough, third, names="abc")
        assert comparison.index.tolist() == [0, 1, 2, 4, 5]
        assert comparison.n_agreeing.tolist() == [2, 1, 1, 1, 1]
        np.testing.assert_array_equal(
            comparison.agreement_map(), [[1, 0.5, 0.5], [np.nan, 0.5, 0.5]]
        )
        assert comparison.confidence.tolist() == [0.9, 0.8, 0.7, 0.8, 0]
        # Points 0, 1 and 4 of those, and 2 not
        assert comparison.agreement("a", "c") == pytest.approx(3 / 4)
        disagreements = comparison.disagreements()
        assert [i.index for i in disagreements] == [4, 1, 2, 5]
        assert disagreements[2] == (2, 0, 2, (229, 229, 225), 0.7, 30, None)
        assert comparison.table().count(" and ") == 3

    def test_same_maps(self, network):
        comparison = compare_phase_maps(network, network, network)
        assert comparison.disagreements() == []
        assert comparison.agreement(0, 2) == comparison.kappa(0, 2) == 1
        assert (comparison.agreement_map() == 1).all()

    def test_truth_as_a_map(self, network):
        """One map is enough. What the truth has no data of is left out."""
        truth = make(TRUTH, is_in_data=np.arange(6) != 5)
        comparison = compare_phase_maps(network, truth=truth)
        assert comparison.accuracy(0) == 1
        assert comparison.index.tolist() == [0, 1, 2, 3, 4]
        assert "Cohen's kappa" not in comparison.table()
        assert comparison.disagreements() == []

    @pytest.mark.parametrize("shape", [(6,), (2, 3)])
    def test_truth_as_an_array(self, network, shape):
        truth = np.reshape(TRUTH, shape)
        comparison = compare_phase_maps(network, truth=truth)
        assert comparison.accuracy("map 1") == pytest.approx(5 / 6)
        assert comparison.labels == (225, 229, "not indexed")

    def test_truth_that_is_not_known_everywhere(self, network):
        comparison = compare_phase_maps(network, truth=[225, -1, 229, 229, -1, -1])
        assert comparison.labels == (225, 229, "not indexed")
        assert "Against the truth" in comparison.table()
        for wrong, error in ((0, ValueError), (np.nan, TypeError)):
            with pytest.raises(error, match="must be"):
                compare_phase_maps(network, truth=[225, wrong, 229, 229, 225, 225])

    def test_one_phase_only(self):
        one, none = make([225] * 6), make([-1] * 6)
        same = compare_phase_maps(one, one)
        assert np.isnan(same.kappa(0, 1)) and same.agreement(0, 1) == 1
        nothing = compare_phase_maps(one, none)
        assert np.isnan(nothing.agreement(0, 1)) and nothing.kappa(0, 1) == 0
        assert "nan" in nothing.table()


class TestLevels:
    @pytest.fixture
    def maps(self):
        """Aluminium, whose space group is nickel's, and a phase without a space group."""
        x, al, ni = Phase("X"), Phase("Al", space_group=225), PHASES[225]
        return (
            make([0, 0, 1, 1, 2, -1], {0: ni, 1: al, 2: x}),
            make([0, 1, 1, 1, 2, 2], {0: ni, 1: al, 2: x}),
        )

    def test_space_groups(self, maps):
        comparison = compare_phase_maps(*maps)
        assert comparison.labels == (225, "X", "not indexed")
        assert comparison.agreement(0, 1) == 1
        header = comparison.table().splitlines()[0]
        assert header.split("  ", 1)[1].split() == ["225", "Fm-3m", "X", "not", "indexed"]

    def test_phases(self, maps):
        comparison = compare_phase_maps(*maps, level="phase")
        assert comparison.labels == ("Al", "Ni", "X", "not indexed")
        assert comparison.agreement(0, 1) == pytest.approx(4 / 5)
        assert comparison.disagreements()[0].labels == ("Ni", "Al")

    def test_names_as_the_truth(self, maps):
        truth = np.array(["Ni", "Ni", "Al", "Al", "X", "X"])
        comparison = compare_phase_maps(maps[0], truth=truth, level="phase")
        assert comparison.accuracy(0) == pytest.approx(5 / 6)


class TestConfidenceAndQuality:
    def test_none(self, hough):
        comparison = compare_phase_maps(hough, make(TRUTH))
        assert np.isnan(comparison.confidence).all() and np.isnan(comparison.quality).all()
        # By place
        assert [i.index for i in comparison.disagreements()] == [1, 4]
        assert np.isnan(comparison.disagreements()[0].quality)

    def test_confidence_comes_before_scores(self, hough):
        xmap = make(NETWORK, scores=CONFIDENCE, confidence=CONFIDENCE[::-1])
        assert compare_phase_maps(xmap, hough).confidence.tolist() == CONFIDENCE[::-1]

    def test_confidence_is_of_the_first_map(self, network, hough):
        assert np.isnan(compare_phase_maps(hough, network).confidence).all()

    def test_quality_is_of_any_map(self, network, hough):
        assert compare_phase_maps(hough, network).quality.tolist() == QUALITY
        pq = make(HOUGH, pq=QUALITY[::-1])
        assert compare_phase_maps(pq, network).quality.tolist() == QUALITY[::-1]

    def test_given_quality(self, network, hough):
        arguments = (network, make(HOUGH, bands=QUALITY[::-1]))
        assert compare_phase_maps(*arguments, quality="bands").quality.tolist() == QUALITY[::-1]
        for values in (np.arange(6), np.arange(6).reshape(2, 3)):
            comparison = compare_phase_maps(*arguments, quality=values)
            assert comparison.quality.tolist() == [0, 1, 2, 3, 4, 5]

    def test_of_points_in_data(self, hough):
        in_data = np.arange(6) != 0
        xmap = make(NETWORK, scores=CONFIDENCE, iq=QUALITY, is_in_data=in_data)
        comparison = compare_phase_maps(xmap, hough)
        assert comparison.confidence.tolist() == CONFIDENCE[1:]
        assert comparison.quality.tolist() == QUALITY[1:]

    def test_several_values(self, hough):
        """Of the best matches of a dictionary, the first one."""
        xmap = make(NETWORK, scores=np.stack([CONFIDENCE, np.zeros(6)], axis=1))
        assert compare_phase_maps(xmap, hough).confidence.tolist() == CONFIDENCE


class TestShapes:
    @pytest.mark.parametrize("shape", [(1, 6), (6, 1)])
    def test_row_and_column(self, shape):
        maps = make(NETWORK, shape=shape), make(HOUGH, shape=shape)
        comparison = compare_phase_maps(*maps)
        assert comparison.shape == shape
        assert comparison.agreement_map().shape == shape
        last = comparison.disagreements()[-1]
        assert (last.row, last.column) == ((0, 5) if shape == (1, 6) else (5, 0))

    def test_part_of_a_map(self, network, hough):
        comparison = compare_phase_maps(network[:, 1:], hough)
        assert comparison.index.tolist() == [1, 2, 4, 5]
        assert comparison.shape == (2, 3)

    def test_steps_that_are_rounded(self, network):
        assert compare_phase_maps(network, make(HOUGH, steps=(1.0001, 2)))


class TestWrongArguments:
    def test_nothing_to_compare_with(self, network):
        with pytest.raises(ValueError, match="nothing to compare the map with"):
            compare_phase_maps(network)

    @pytest.mark.parametrize("other", [HOUGH, None, "hough"])
    def test_no_map(self, network, other):
        with pytest.raises(TypeError, match="must be of type .*CrystalMap"):
            compare_phase_maps(network, other)

    def test_shape(self, network):
        other = make(HOUGH, shape=(3, 2))
        with pytest.raises(
            ValueError, match=r"'map 1' has \(2, 3\) points, 'map 2' \(3, 2\). Give"
        ):
            compare_phase_maps(network, other)
        with pytest.raises(ValueError, match="'truth'"):
            compare_phase_maps(network, truth=other)

    def test_steps(self, network, hough):
        other = make(HOUGH, steps=(1, 2.5))
        with pytest.raises(ValueError, match=r"in their steps \(dy, dx\): 'a'.*'c'.*2\.5"):
            compare_phase_maps(network, hough, other, names="abc")

    def test_no_shared_phase(self, network):
        phases = {1: Phase("nickel"), 2: Phase("iron")}
        other = make([1, 2, 1, 2, 1, 2], phases)
        with pytest.raises(
            ValueError, match="'map 1' and 'map 2' share no phase: 225 Fm-3m, 229 .* iron, nickel"
        ):
            compare_phase_maps(network, other)
        with pytest.raises(ValueError, match="'map 1' and 'truth' share no phase"):
            compare_phase_maps(network, truth=[194] * 6)

    def test_no_point_in_all(self):
        first, second = (make(TRUTH, is_in_data=np.arange(6) % 2 == i) for i in (0, 1))
        with pytest.raises(ValueError, match="No point is in data in all of the maps"):
            compare_phase_maps(first, second)

    @pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", "truth"], ["a", "b", "c"]])
    def test_names(self, network, hough, names):
        with pytest.raises(ValueError, match="must be 2 different ones, none of which is 'truth'"):
            compare_phase_maps(network, hough, names=names)

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"level": "crystal"}, "level='crystal' must be one of 'space group', 'phase'"),
            ({"quality": "sharpness"}, "quality='sharpness' is a property of none of the maps"),
            ({"quality": np.zeros(5)}, r"quality of shape \(5,\) must have a value for each"),
            ({"truth": np.full((2, 2), 225)}, r"truth of shape \(2, 2\).*\(2, 3\) points"),
        ],
    )
    def test_options(self, network, hough, options, match):
        with pytest.raises(ValueError, match=match):
            compare_phase_maps(network, hough, **options)
