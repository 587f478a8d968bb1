import warnings
from collections import Counter

import numpy as np
import pytest

from kikuchipy_cnn.training.labelled import LabelledPatterns, PatternSource
from kikuchipy_cnn.training.splits import CLAIMS, Split, leave_material_out, split_patterns


def make(*groups):
    """Patterns of groups (space group, material, map, grain, number), numbered by their pixels."""
    number = [group[-1] for group in groups]
    columns = [np.repeat(np.array(column, object), number) for column in zip(*groups, strict=True)]
    n = sum(number)
    source = PatternSource(np.broadcast_to(np.arange(n)[:, None, None], (n, 40, 40)))
    return LabelledPatterns(
        (source,), np.zeros(n, int), np.arange(n), columns[0].astype(int), *columns[1:4]
    )


def ids(patterns):
    return [
        int(patterns.sources[source].data[index, 0, 0])
        for source, index in zip(patterns.source, patterns.index, strict=True)
    ]


def parts(split):
    return ids(split.training), ids(split.validation), ids(split.test)


def units(patterns, unit):
    columns = (patterns.space_group, patterns.material, patterns.map_name, patterns.grain)
    return Counter(zip(*columns[: list(CLAIMS)[::-1].index(unit) + 2], strict=True))


@pytest.fixture
def materials():
    """Three materials of one space group and one of another."""
    return make(
        (225, "Ni", "a", "", 60),
        (225, "Al", "b", "", 40),
        (225, "TaC", "c", "", 50),
        (229, "W", "d", "", 30),
    )


class TestByPattern:
    def test_even_over_materials_and_the_rest_is_the_test(self, materials):
        split = split_patterns(materials, 16, 7)
        assert split.claims == "new patterns"
        counts = split.training.counts(), split.validation.counts(), split.test.counts()
        for (key, there), n in zip(
            materials.counts().items(), ((5, 3), (6, 2), (5, 2), (16, 7)), strict=True
        ):
            assert (counts[0][key], counts[1][key]) == n
            assert counts[2][key] == there - sum(n)
        # Every pattern in exactly one part, with the labels that it had.
        everything = sum(parts(split), [])
        assert sorted(everything) == list(range(180))
        for part in (split.training, split.validation, split.test):
            np.testing.assert_array_equal(part.material, materials.material[ids(part)])
            assert ids(part) == sorted(ids(part))

    def test_seed_decides(self, materials):
        first = parts(split_patterns(materials, 16, 7, seed=1))
        assert parts(split_patterns(materials, 16, 7, seed=1)) == first
        second = parts(split_patterns(materials, 16, 7, seed=2))
        assert all(a != b for a, b in zip(first, second, strict=True))

    def test_classes_do_not_depend_on_each_other(self, materials):
        both = split_patterns(materials, 16, 7)
        tungsten = split_patterns(materials.take(materials.space_group == 229), 16, 7)
        for together, alone in zip(parts(both), parts(tungsten), strict=True):
            assert [i for i in together if i >= 150] == alone

    def test_level(self, materials):
        """Both space groups are of one Laue group, whose share is divided over four materials."""
        split = split_patterns(materials, 16, 8, level="Laue group")
        assert set(split.training.counts().values()) == {4}
        split = split_patterns(materials, 16, 8, level="phase")
        assert set(split.training.counts().values()) == {16}

    def test_exactly_enough(self, materials):
        tungsten = materials.take(materials.material == "W")
        split = split_patterns(tungsten, 20, 10)
        assert (len(split.training), len(split.validation), len(split.test)) == (20, 10, 0)

    @pytest.mark.parametrize(
        ("n", "match"),
        [
            ((20, 11), "There are 30 patterns of space group 229, .* ask for 31. .*allow_fewer"),
            ((100, 23), "There are 40 patterns of material 'Al' of space group 225, .* is 41"),
        ],
    )
    def test_too_few(self, materials, n, match):
        chosen = materials if n[0] == 20 else materials.take(materials.space_group == 225)
        with pytest.raises(ValueError, match=match):
            split_patterns(chosen, *n)

    def test_allow_fewer_of_a_material(self, materials):
        """Others of the class stand in, so that the classes stay as large as each other."""
        cubic = materials.take(materials.space_group == 225)
        split = split_patterns(cubic, 112, 28, allow_fewer=True)
        assert (len(split.training), len(split.validation), len(split.test)) == (112, 28, 10)
        assert split.training.counts() == {(225, "Al"): 32, (225, "Ni"): 40, (225, "TaC"): 40}
        assert split.validation.counts() == {(225, "Al"): 8, (225, "Ni"): 10, (225, "TaC"): 10}
        assert split.test.counts() == {(225, "Ni"): 10}

    def test_allow_fewer_of_a_class(self, materials):
        split = split_patterns(materials, 80, 20, allow_fewer=True)
        assert split.training.counts()[229, "W"] == 24
        assert split.validation.counts()[229, "W"] == 6
        assert (229, "W") not in split.test.counts()
        two = split_patterns(make((225, "Ni", "a", "", 2)), 400, 1, allow_fewer=True)
        assert (len(two.training), len(two.validation)) == (1, 1)
        with pytest.raises(ValueError, match="There is one pattern of space group 225"):
            split_patterns(make((225, "Ni", "a", "", 1)), allow_fewer=True)


class TestByMaterial:
    def test_test_is_what_is_held_out(self, materials):
        for held_out in (["Al", "W"], [(225, "Al"), (229, "W")]):
            more = materials + make((229, "Fe", "e", "", 50))
            split = split_patterns(more, 30, 10, "material", held_out=held_out)
            assert split.claims == "new materials"
            assert split.test.counts() == {(225, "Al"): 40, (229, "W"): 30}
            expected = {(225, "Ni"): 15, (225, "TaC"): 15, (229, "Fe"): 30}
            assert split.training.counts() == expected
            assert split.validation.counts() == {key: n // 3 for key, n in expected.items()}

    def test_same_name_in_two_space_groups(self):
        patterns = make(*((number, name, "", "", 9) for number in (194, 225) for name in "ab"))
        split = split_patterns(patterns, 4, 2, "material", held_out=[(225, "a")])
        assert split.test.counts() == {(225, "a"): 9}
        split = split_patterns(patterns, 4, 2, "material", held_out="a")
        assert split.test.counts() == {(194, "a"): 9, (225, "a"): 9}

    @pytest.mark.parametrize(
        ("held_out", "match"),
        [
            (["Fe"], r"names 'Fe', .* Al \(225\), Ni \(225\), TaC \(225\), W \(229\)"),
            ([(229, "Al")], r"names \(229, 'Al'\)"),
            (["Al", "W"], r"all materials of space group 229 \(W\)"),
            (None, "leave_material_out"),
        ],
    )
    def test_errors(self, materials, held_out, match):
        with pytest.raises(ValueError, match=match):
            split_patterns(materials, 8, 2, "material", held_out=held_out)


@pytest.fixture
def grains():
    """Two materials of one class with four maps of three grains, and a class of three maps."""
    return make(
        *(
            (225, m, f"map {i}", f"grain {g}", 10)
            for m in ("Ni", "Al")
            for i in "wxyz"
            for g in "abc"
        ),
        *((229, "W", f"map {i}", f"grain {g}", 7) for i in "wxy" for g in "ab"),
    )


class TestByGroup:
    @pytest.mark.parametrize("unit", ["map", "grain"])
    @pytest.mark.parametrize("seed", range(5))
    def test_whole_groups_on_one_side(self, grains, unit, seed):
        split = split_patterns(grains, 10, 3, unit, seed=seed)
        assert split.claims == f"new {unit}s"
        groups = [units(part, unit) for part in (split.training, split.validation, split.test)]
        assert not groups[0].keys() & groups[1].keys()
        assert not groups[2].keys() & (groups[0].keys() | groups[1].keys())
        # The test has all of its groups, the others have as many of each group as can be.
        everything = units(grains, unit)
        assert all(everything[key] == n for key, n in groups[2].items())
        for of_part, n in ((groups[0], 10), (groups[1], 3)):
            for number in (225, 229):
                of_class = [i for key, i in of_part.items() if key[0] == number]
                assert sum(of_class) == n and max(of_class) - min(of_class) <= 1
        # Half of the groups of each class, of both materials; both are trained on as well.
        n_tested = Counter(key[0] for key in groups[2])
        assert n_tested == ({225: 4, 229: 1} if unit == "map" else {225: 12, 229: 3})
        assert {key[1] for key in groups[2]} == {key[1] for key in groups[0]} == {"Ni", "Al", "W"}

    def test_small_groups_are_filled_up_from_others(self):
        sizes = (2, 30, 30, 30, 2, 30)
        patterns = make(*((225, "Ni", str(i), "", n) for i, n in enumerate(sizes)))
        for seed in range(20):
            split = split_patterns(patterns, 20, 2, "map", test_fraction=0.3, seed=seed)
            assert len(split.training) == 20
            drawn = units(split.training, "map")
            small = [n for key, n in drawn.items() if key[2] in "04"]
            large = [n for key, n in drawn.items() if key[2] not in "04"]
            assert len(drawn) == 3 and small == [2] * len(small)
            assert max(large) - min(large) <= 1

    def test_test_fraction(self):
        patterns = make(*((225, "Ni", str(i), "", 9) for i in range(10)))
        for fraction, n in ((0.01, 1), (0.3, 3), (0.99, 8)):
            split = split_patterns(patterns, 4, 1, "map", test_fraction=fraction)
            assert len(units(split.test, "map")) == n
            assert len(split.validation) == 1 and len(split.training) == 4

    def test_material_with_one_map_is_trained_on(self):
        patterns = make(
            *((225, "Ni", str(i), "", 20) for i in range(9)), (225, "Al", "one", "", 20)
        )
        for seed in range(10):
            split = split_patterns(patterns, 8, 4, "map", seed=seed)
            assert (225, "Al") in split.training.counts()

    def test_seed_decides_and_classes_are_independent(self, grains):
        first = parts(split_patterns(grains, 10, 3, "map", seed=3))
        assert parts(split_patterns(grains, 10, 3, "map", seed=3)) == first
        tests = {tuple(parts(split_patterns(grains, 10, 3, "map", seed=i))[2]) for i in range(9)}
        assert len(tests) > 4
        tungsten = grains.take(grains.space_group == 229)
        for together, alone in zip(
            first, parts(split_patterns(tungsten, 10, 3, "map", seed=3)), strict=True
        ):
            assert [i - 240 for i in together if i >= 240] == [i - 240 for i in alone]

    def test_errors(self, grains):
        two_maps = make(
            *((225, "Ni", i, "g", 9) for i in "ab"), *((229, "W", i, "g", 9) for i in "abc")
        )
        with pytest.raises(ValueError, match=r"Of space group 225 there are .* 2 map\(s\)"):
            split_patterns(two_maps, 4, 2, "map")
        unnamed = grains + make((229, "W", "last", "", 5))
        with pytest.raises(ValueError, match=r"5 of 287 patterns .* W \(229\), map 'last'"):
            split_patterns(unnamed, 4, 2, "grain")
        with pytest.raises(
            ValueError, match=r"drawn for training of space group 2.* n_training=99"
        ):
            split_patterns(grains, 99, 2, "map")
        with pytest.raises(ValueError, match=r"1 map\(s\) drawn for validation .* n_validation=50"):
            split_patterns(grains, 5, 50, "map")
        split = split_patterns(grains, 99, 50, "map", allow_fewer=True)
        assert units(split.training, "map").keys().isdisjoint(units(split.validation, "map"))
        assert split.training.counts()[229, "W"] == 14


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"by": "phase"}, "by='phase' must be one of 'pattern', 'grain', 'map', 'material'"),
        ({"n_validation": 0}, "n_validation=0 must be .* at least 1: without validation patterns"),
        ({"n_training": 0}, "n_training=0 must be an integer of at least 1"),
        ({"n_training": 10.5}, "n_training=10.5 must be an integer"),
        ({"n_validation": "2"}, "n_validation='2' must be an integer"),
        ({"seed": -1}, "seed=-1 must be an integer of at least 0"),
        ({"seed": 0.5}, "seed=0.5 must be an integer"),
        ({"by": "map", "test_fraction": 1.0}, "test_fraction=1.0"),
        ({"held_out": ["Al"]}, "by='pattern' with held_out=.'Al'."),
        ({"level": "color"}, "level='color'"),
    ],
)
def test_arguments(materials, arguments, match):
    with pytest.raises(ValueError, match=match):
        split_patterns(materials, **{"n_training": 4, "n_validation": 2} | arguments)


class TestSplit:
    def make(self, training, test, claims):
        validation = make((230, "other", "other", "other", 1))
        return Split(make(*training), validation, make(*test), claims)

    # The same grain as in the training, another grain of its map, and another map.
    TRAINING = ((225, "Ni", "a", "1", 2),)
    TESTS = (
        (225, "Ni", "a", "1", 3),
        (225, "Ni", "a", "2", 3),
        (225, "Ni", "b", "1", 3),
        (221, "Ni", "a", "1", 3),
    )

    @pytest.mark.filterwarnings("ignore:The split claims")
    @pytest.mark.parametrize(
        ("claims", "n_bad", "match"),
        [
            ("new grains", 1, r"1 of 1 grain\(s\) .*: Ni \(225\), map 'a', grain '1'\. .*'grain'"),
            ("new maps", 2, r"1 of 1 map\(s\) .*: Ni \(225\), map 'a'\. .*by='map'"),
            ("new materials", 3, r"1 of 1 material\(s\) .*: Ni \(225\)\. "),
        ],
    )
    def test_warns_of_what_is_not_new(self, claims, n_bad, match):
        for test in self.TESTS[:n_bad]:
            with pytest.warns(UserWarning, match=match):
                self.make(self.TRAINING, [test], claims)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for test in self.TESTS[n_bad:]:
                self.make(self.TRAINING, [test], claims)

    @pytest.mark.filterwarnings("ignore:The split claims")
    def test_names_a_few_and_looks_at_the_validation(self):
        groups = [(225, f"m{i}", "", "", 1) for i in range(9)]
        other = make((230, "other", "", "", 1))
        with pytest.warns(UserWarning, match=r"7 of 9 .*: m0 .225.; m1 .225.; m2 .225. and 4 more"):
            Split(other, make(*groups[:7]), make(*groups), "new materials")

    @pytest.mark.filterwarnings("ignore:The split claims")
    def test_same_pattern_twice(self, materials):
        twice = materials.take([*range(180), 3])
        with pytest.warns(
            UserWarning, match=r"1 of .* pattern\(s\) .* Ni \(225\), map 'a', pattern 3"
        ):
            Split(twice.take([3]), twice.take([100]), twice.take([180, 101]), "new patterns")

    def test_no_such_claim(self, materials):
        with pytest.raises(ValueError, match="claims='all' must be one of 'new patterns', "):
            Split(materials, materials, materials, "all")

    def test_table(self, materials):
        lines = split_patterns(materials, 16, 7).table().splitlines()
        assert [line.split() for line in lines] == [
            ["space", "group", "material", "training", "validation", "test"],
            ["225", "Fm-3m", "Al", "5", "3", "32"],
            ["225", "Fm-3m", "Ni", "6", "2", "52"],
            ["225", "Fm-3m", "TaC", "5", "2", "43"],
            ["229", "Im-3m", "W", "16", "7", "7"],
            ["total", "32", "14", "134"],
        ]
        assert len({len(line) for line in lines}) == 1
        # A material that one of the parts does not have.
        held_out = split_patterns(materials, 16, 7, "material", held_out=["Al"]).table()
        assert ["225", "Fm-3m", "Al", "0", "0", "40"] in [i.split() for i in held_out.splitlines()]


class TestLeaveMaterialOut:
    def test_every_material_with_a_companion_once(self, materials):
        more = materials + make((227, "Si", "", "", 30), (227, "Ge", "", "", 30))
        splits = list(leave_material_out(more, n_training=10, n_validation=4))
        assert len(splits) == 3
        tested = Counter()
        for split in splits:
            assert split.claims == "new materials"
            counts = split.test.counts()
            # One of each class that has two, whole, and nothing of it in the training.
            assert [number for number, _ in counts] == [225, 227]
            assert all(n == more.counts()[key] for key, n in counts.items())
            trained = split.training.counts()
            assert not trained.keys() & counts.keys()
            assert Counter(split.training.space_group.tolist()) == {225: 10, 227: 10, 229: 10}
            tested.update(counts.keys())
        assert sum(tested.values()) == 6
        assert {key[1] for key in tested} == {"Ni", "Al", "TaC", "Si", "Ge"}

    def test_fewer_folds_by_seed(self, materials):
        def first(seed):
            (split,) = leave_material_out(materials, 1, n_training=8, n_validation=2, seed=seed)
            return tuple(split.test.counts())

        assert first(1) == first(1)
        assert {first(seed) for seed in range(20)} == {((225, i),) for i in ("Al", "Ni", "TaC")}

    def test_level(self, materials):
        """Four materials of one Laue group."""
        splits = list(
            leave_material_out(materials, level="Laue group", n_training=9, n_validation=3)
        )
        assert sorted(split.test.material[0] for split in splits) == ["Al", "Ni", "TaC", "W"]

    def test_errors_before_the_first_fold(self, materials):
        for n_folds in (0, 4):
            with pytest.raises(ValueError, match=f"n_folds={n_folds} must be from 1 to 3"):
                leave_material_out(materials, n_folds, n_training=8, n_validation=2)
        with pytest.raises(ValueError, match="seed=-1 must be an integer of at least 0"):
            leave_material_out(materials, seed=-1)
        with pytest.raises(ValueError, match="No space group has two materials"):
            leave_material_out(materials.take(np.isin(materials.material, ["Ni", "W"])))
        # Enough to train on when W is held out, but not when Fe is.
        more = materials + make((229, "Fe", "", "", 60))
        with pytest.raises(ValueError, match="There are 30 patterns of space group 229"):
            leave_material_out(more, n_training=30, n_validation=10)
