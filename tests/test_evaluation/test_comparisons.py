import numpy as np
import pytest
from orix.quaternion import Rotation
from orix.quaternion.symmetry import Oh
from orix.vector import Vector3d

from kikuchipy_cnn.evaluation import comparisons


class TestQuality:
    def test_known_values(self, make):
        # Right are patterns 0, 2, 4, 5, 6, 8 and 9; of 21 pairs, the right one is better in 15.
        quality = np.array([5, 1, 6, 2, 7, 8, 1.5, 9, 3, 4], float)
        found = make(quality=quality).compare_quality()
        assert (found.median_right, found.median_wrong) == (5, 2)
        right, wrong = np.array([5, 6, 7, 8, 1.5, 3, 4]), np.array([1, 2, 9])
        assert found.auc == pytest.approx((right[:, None] > wrong).mean())
        assert (found.n_right, found.n_wrong) == (7, 3)
        assert 0.05 < found.p_value < 1

    def test_quality_that_decides(self, make):
        right = np.random.default_rng(0).random(200) < 0.5
        predicted = np.where(right, 221, 225).tolist()
        quality = right + 0.01 * np.arange(200) / 200
        found = make(predicted, [221] * 200, ["FeAl"] * 200, quality=quality).compare_quality()
        assert found.auc == 1
        assert found.p_value < 1e-30

    def test_all_are_right(self, make):
        found = make(make.true, quality=np.append(np.arange(9.0), np.nan)).compare_quality()
        assert found.median_right == 4
        assert np.isnan([found.median_wrong, found.auc, found.p_value]).all()
        assert (found.n_right, found.n_wrong) == (9, 0)

    def test_without_quality(self, make):
        with pytest.raises(ValueError, match="with_quality=True"):
            make().compare_quality()


def near(direction, n, rng):
    """Orientations with a crystal direction near the sample's normal."""
    to_normal = Rotation.from_align_vectors(Vector3d(direction), Vector3d.zvector())
    turned = Rotation.from_axes_angles(Vector3d.zvector(), rng.uniform(0, 2 * np.pi, n))
    tilted = Rotation.from_axes_angles(Vector3d(rng.normal(size=(n, 3))), rng.normal(0, 0.1, n))
    return (tilted * to_normal * turned).data


class TestOrientations:
    def test_directions(self, make):
        corner = np.array([1, 1, 1]) / np.sqrt(3)
        rotations = Rotation.from_align_vectors([[-1, 1, -1]], [[0, 0, 1]]).data.repeat(3, axis=0)
        rotations[1] = np.nan
        evaluation = make([221] * 3, [221, 221, 194], ["FeAl"] * 3, rotation=rotations)
        found = evaluation.crystal_directions()
        assert list(found) == ["6/mmm", "m-3m"]
        assert found["m-3m"].symmetry == Oh
        assert found["m-3m"].places.tolist() == [0]
        np.testing.assert_allclose(found["m-3m"].vectors, [corner], atol=1e-6)
        sector = found["6/mmm"].symmetry.fundamental_sector
        assert (Vector3d(found["6/mmm"].vectors) <= sector).all()

    def test_all_directions_of_all_laue_groups_are_in_their_sectors(self, make):
        groups = [2, 14, 62, 87, 139, 148, 166, 175, 194, 205, 225]
        n = 40
        rotation = Rotation.random(n * len(groups)).data
        space_groups = np.repeat(groups, n)
        names = ["x"] * len(space_groups)
        evaluation = make([221] * len(names), space_groups, names, rotation=rotation)
        found = evaluation.crystal_directions()
        assert len(found) == 11
        for directions in found.values():
            vectors, sector = Vector3d(directions.vectors), directions.symmetry.fundamental_sector
            assert (vectors.data[:, 2] > -1e-9).all()
            # orix lets single ones slip out of m-3.
            assert (vectors <= sector).mean() > 0.95

    def test_orientation_that_decides(self, make):
        rng = np.random.default_rng(1)
        rotation = np.concatenate([near([0, 0, 1], 60, rng), near([1, 1, 1], 60, rng)])
        predicted = [221] * 60 + [225] * 60
        evaluation = make(predicted, [221] * 120, ["FeAl"] * 120, rotation=rotation)
        (found,) = evaluation.compare_orientations()
        assert (found.laue_group, found.n_right, found.n_wrong) == ("m-3m", 60, 60)
        assert found.distance > 0.8 > 0.1 > found.by_chance
        assert found.p_value == 0.001
        assert evaluation.compare_orientations() == [found]

    def test_texture_of_materials_is_no_bias(self, make):
        # One is hard and near one corner, the other easy and near another.
        rng = np.random.default_rng(2)
        rotation = np.concatenate([near([0, 0, 1], 80, rng), near([1, 1, 1], 80, rng)])
        right = np.concatenate([rng.random(80) < 0.2, rng.random(80) < 0.8])
        materials = ["Ni3Al"] * 80 + ["FeAl"] * 80
        evaluation = make(
            np.where(right, 221, 225).tolist(), [221] * 160, materials, rotation=rotation
        )
        (found,) = evaluation.compare_orientations()
        assert found.distance == pytest.approx(found.by_chance, rel=0.5)
        assert found.distance > 0.1
        assert found.p_value > 0.05

    def test_p_values_are_uniform_without_a_difference(self, make):
        rng = np.random.default_rng(5)
        p_values = []
        for _ in range(20):
            predicted = np.where(rng.random(60) < 0.7, 221, 225).tolist()
            rotation = Rotation(rng.normal(size=(60, 4))).unit.data
            evaluation = make(predicted, [221] * 60, ["FeAl"] * 60, rotation=rotation)
            p_values.append(evaluation.compare_orientations()[0].p_value)
        assert 0.3 < np.mean(p_values) < 0.7

    def test_distance_is_the_energy_coefficient(self):
        rng = np.random.default_rng(4)
        x, y = rng.normal(size=(2, 7, 3))
        flags = np.repeat([True, False], 7)
        found = comparisons._compare(np.concatenate([x, y]), flags, np.zeros(14), rng)

        def mean(a, b):
            return np.linalg.norm(a[:, None] - b, axis=-1).mean()

        expected = 1 - (mean(x, x) + mean(y, y)) / (2 * mean(x, y))
        assert found[0] == pytest.approx(expected)

    def test_all_are_right(self, make):
        rotation = Rotation.random(10).data
        (found,) = make(make.true, rotation=rotation).compare_orientations()
        assert np.isnan(found[1:4]).all()
        assert found[4:] == (10, 0)

    def test_unknown(self, make):
        assert make().compare_orientations() == []
