from dataclasses import replace

import kikuchipy as kp
import numpy as np
import pytest
from kikuchipy.detectors import EBSDDetector
from kikuchipy.signals import EBSD
from orix.crystal_map import CrystalMap, Phase
from orix.quaternion import Rotation

from kikuchipy_cnn.explanation import (
    crystallographic_shares,
    geometrical_simulations,
    orientations_at,
)
from kikuchipy_cnn.simulation import load_phases

DETECTOR = EBSDDetector((60, 60), pc=(0.42, 0.25, 0.55), sample_tilt=70)
ROTATION = Rotation.from_euler([0.4, 0.9, 0.2])


@pytest.fixture(scope="module")
def phases():
    return load_phases()


@pytest.fixture(scope="module")
def nickel(phases):
    return phases["Ni"]


@pytest.fixture
def signal():
    return kp.data.nickel_ebsd_small()


def single_pixels(pixels, size):
    """Values that are 1 at one pixel each, of shape (1, pixels, size, size)."""
    values = np.zeros((1, len(pixels), size, size))
    values[0, np.arange(len(pixels)), *np.transpose(pixels)] = 1
    return values


@pytest.fixture(scope="module")
def regions(as_attributions, nickel):
    """Near zone axes, and in bands, of a square pattern of 20 x 20 network pixels."""
    pixels = list(np.ndindex(20, 20))
    shares = crystallographic_shares(
        as_attributions(single_pixels(pixels, 20)), nickel, ROTATION, DETECTOR, n_random=1
    )
    near, within = (share.observed.reshape(20, 20) for share in (shares.zone_axes, shares.bands))
    assert np.isin(near, [0, 1]).all() and 0 < near.mean() < 0.5
    assert np.isin(within, [0, 1]).all() and 0.2 < within.mean() < 0.6
    return near, within


GEOMETRIES = [
    EBSDDetector((60, 60), pc=(0.42, 0.25, 0.55), sample_tilt=70),
    EBSDDetector((48, 80), pc=(0.5, 0.2, 0.6), sample_tilt=65, tilt=8, azimuthal=4),
    EBSDDetector((80, 48), pc=(0.45, 0.3, 0.5), sample_tilt=70, tilt=-3, twist=2),
    EBSDDetector((240, 300), pc=(0.4, 0.25, 0.7), sample_tilt=70, px_size=50, binning=2),
]


@pytest.fixture(scope="module", params=range(4))
def simulated(request, nickel):
    """Detector, kikuchipy's simulation, and how many network pixels are one of the pattern."""
    detector = GEOMETRIES[request.param]
    (simulation,) = geometrical_simulations(nickel, ROTATION, detector)
    return detector, simulation, min(1, 80 / max(detector.shape))


def network_pixels(points, shape, size):
    """Those that the (column, row) of the pattern's pixels are in."""
    scale = max(shape) / size
    points = np.asarray(points)[:, ::-1] + 0.5
    return np.floor((points - np.divide(shape, 2)) / scale + size / 2).astype(int)


class TestAgainstKikuchipy:
    def shares_of(self, as_attributions, points, phase, detector, size, **options):
        """Whether points are near zone axes, and whether in bands."""
        pixels = network_pixels(points, detector.shape, size)
        attributions = as_attributions(single_pixels(pixels, size), detector.shape)
        shares = crystallographic_shares(
            attributions, phase, ROTATION, detector, n_random=1, **options
        )
        return shares.zone_axes.observed[0], shares.bands.observed[0]

    def inner(self, shape, margin):
        y, x = np.mgrid[margin : shape[0] - margin, margin : shape[1] - margin]
        return np.stack([x.ravel(), y.ravel()], axis=1).astype(float)

    def test_zone_axes(self, as_attributions, nickel, simulated):
        detector, simulation, scale = simulated
        size = round(max(detector.shape) * scale)
        axes = simulation.zone_axes_coordinates(coordinates="pixel")
        inside = ((axes > 0.5) & (axes < np.array(detector.shape)[::-1] - 1.5)).all(axis=1)
        assert inside.sum() >= 4
        # A network pixel is up to 1.5 degrees wide.
        near, _ = self.shares_of(as_attributions, axes[inside], nickel, detector, size, within=1.8)
        np.testing.assert_array_equal(near, 1)
        # All <100>, <110> and <111> are among kikuchipy's.
        points = self.inner(detector.shape, 8)[:: 17 if scale == 1 else 211]
        distance = np.linalg.norm(points[:, None] - axes, axis=-1).min(axis=1) * scale
        points = points[distance > 4]
        assert len(points) > 50
        near, _ = self.shares_of(
            as_attributions, points, nickel, detector, size, within=1.8, max_index=1
        )
        np.testing.assert_array_equal(near, 0)

    def test_bands(self, as_attributions, nickel, simulated):
        detector, simulation, scale = simulated
        size = round(max(detector.shape) * scale)
        lines = simulation.lines_coordinates()
        starts, ends = lines[:, :2], lines[:, 2:]
        steps = np.linspace(0, 1, 60)[:, None, None]
        points = (starts + steps * (ends - starts)).reshape(-1, 2)
        last = np.array(detector.shape)[::-1] - 1
        points = points[((points > 0.5) & (points < last - 0.5)).all(axis=1)]
        assert len(points) > 100
        _, within = self.shares_of(as_attributions, points, nickel, detector, size)
        # At their middle, the narrowest are little wider than a pixel.
        assert within.mean() > 0.97
        points = self.inner(detector.shape, 8)[:: 17 if scale == 1 else 211]
        along = (ends - starts) / np.linalg.norm(ends - starts, axis=1)[:, None]
        away = points[:, None] - starts
        distance = np.abs(away[..., 0] * along[:, 1] - away[..., 1] * along[:, 0]).min(axis=1)
        points = points[distance * scale > 3.5]
        assert len(points) > 15
        _, within = self.shares_of(as_attributions, points, nickel, detector, size)
        np.testing.assert_array_equal(within, 0)

    def test_signal_with_orientations(self, as_attributions, signal, nickel):
        """Patterns of two places, with a projection center each."""
        places = ((0, 1), (1, 0))
        rotations, detector = orientations_at(signal, places)
        simulations = geometrical_simulations(nickel, rotations, detector)
        assert len(simulations) == 2
        values = np.zeros((2, 1, 60, 60))
        for of_pattern, simulation in zip(values, simulations, strict=True):
            axes = simulation.zone_axes_coordinates(coordinates="pixel")
            inside = axes[((axes > 0) & (axes < 59)).all(axis=1)]
            of_pattern[0, *network_pixels(inside, (60, 60), 60).T] = 1
        options = {"within": 1.8, "n_random": 20}
        shares = crystallographic_shares(
            as_attributions(values), nickel, rotations, detector, **options
        ).zone_axes
        np.testing.assert_allclose(shares.observed, 1)
        swapped = crystallographic_shares(
            as_attributions(values[::-1]), nickel, rotations, detector, **options
        ).zone_axes
        assert swapped.observed.max() < 0.6


class TestShares:
    def test_constant_values(self, as_attributions, nickel, regions):
        attributions = as_attributions(np.full((2, 3, 20, 20), 0.3))
        rotations = Rotation(np.repeat(ROTATION.data, 2, axis=0))
        shares = crystallographic_shares(attributions, nickel, rotations, DETECTOR, n_random=30)
        for share, region in zip((shares.zone_axes, shares.bands), regions, strict=True):
            assert share.observed.shape == share.p_value.shape == (2, 3)
            assert share.area.shape == share.contrast.shape == (2,)
            np.testing.assert_allclose(share.area, region.mean(), rtol=1e-6)
            np.testing.assert_allclose(share.observed, region.mean(), rtol=1e-6)
            np.testing.assert_allclose(share.chance, region.mean(), rtol=1e-6)
            np.testing.assert_allclose(share.spread, 0, atol=1e-6)
            contrast = np.abs(attributions.images)
            expected = (contrast * region).sum(axis=(1, 2)) / contrast.sum(axis=(1, 2))
            np.testing.assert_allclose(share.contrast, expected, rtol=1e-5)

    @pytest.mark.parametrize("which", [0, 1])
    def test_all_in_a_region(self, as_attributions, nickel, regions, which):
        attributions = as_attributions(np.array([regions[which], 1 - regions[which]])[None])
        shares = crystallographic_shares(attributions, nickel, ROTATION, DETECTOR, n_random=40)
        share = (shares.zone_axes, shares.bands)[which]
        np.testing.assert_allclose(share.observed, [[1, 0]])
        np.testing.assert_allclose(share.p_value, [[1 / 41, 1]])
        assert 0 < share.chance[0, 0] < 0.8 and share.spread[0, 0] > 0

    def test_looking_at_the_middle_is_no_crystallography(self, as_attributions, nickel, rng):
        y, x = np.mgrid[:20, :20]
        values = np.exp(-((y - 9.5) ** 2 + (x - 9.5) ** 2) / 50)[None, None]
        # Over many orientations, those of the crystal are like any others.
        rotations = Rotation(rng.normal(size=(60, 4)))
        shares = crystallographic_shares(
            as_attributions(np.repeat(values, 60, axis=0)), nickel, rotations, DETECTOR, n_random=60
        )
        for share in (shares.zone_axes, shares.bands):
            assert 0.4 < share.p_value.mean() < 0.65
            assert share.chance.mean() == pytest.approx(share.observed.mean(), rel=0.25)

    def test_sign(self, as_attributions, nickel, regions):
        near, _ = regions
        values = np.array([[np.where(near, 2, -1), near]])
        attributions = as_attributions(values)
        n_near = near.sum()
        for sign, expected in {
            "positive": [1, 1],
            "negative": [0, np.nan],
            "both": [2 * n_near / (2 * n_near + 400 - n_near), 1],
        }.items():
            share = crystallographic_shares(
                attributions, nickel, ROTATION, DETECTOR, sign=sign, n_random=5
            ).zone_axes
            np.testing.assert_allclose(share.observed, [expected])
            np.testing.assert_array_equal(np.isnan(share.p_value), np.isnan([expected]))
            np.testing.assert_array_equal(np.isnan(share.chance), np.isnan([expected]))

    def test_details(self, as_attributions, nickel, regions):
        attributions = as_attributions(np.ones((1, 1, 20, 20)), details=-regions[0][None, None])
        options = {"details": True, "n_random": 2}
        share = crystallographic_shares(attributions, nickel, ROTATION, DETECTOR, **options)
        assert share.zone_axes.observed[0, 0] == pytest.approx(1)
        with pytest.raises(ValueError, match="There are no details"):
            crystallographic_shares(
                replace(attributions, details=None), nickel, ROTATION, DETECTOR, **options
            )

    def test_what_is_beside_the_pattern_does_not_count(self, as_attributions, nickel, rng):
        detector = EBSDDetector((30, 60), pc=(0.42, 0.25, 1.1), sample_tilt=70)
        mask = np.zeros((30, 60), bool)
        mask[:, 40:] = True
        values = np.ones((1, 1, 20, 20))
        attributions = as_attributions(values, (30, 60), signal_mask=mask)
        inside = attributions.transform.coverage((30, 60), mask) > 0.5
        other = np.where(inside, values, rng.normal(size=values.shape))
        share, same = (
            crystallographic_shares(
                replace(attributions, values=i), nickel, ROTATION, detector, n_random=2
            ).bands
            for i in (values, other)
        )
        np.testing.assert_allclose(same.observed, share.observed)
        np.testing.assert_allclose(share.observed[:, 0], share.area)
        everywhere = replace(attributions, signal_mask=None)
        unmasked = crystallographic_shares(everywhere, nickel, ROTATION, detector, n_random=2).bands
        assert abs(unmasked.area[0] - share.area[0]) > 0.005

    def test_several_projection_centers(self, as_attributions, nickel, rng):
        centers = [(0.42, 0.25, 0.55), (0.6, 0.4, 0.7)]
        both = EBSDDetector((60, 60), pc=centers)
        attributions = as_attributions(rng.normal(size=(2, 2, 20, 20)))
        rotations = Rotation.from_euler([[0.4, 0.9, 0.2], [1, 0.3, 2]])
        together = crystallographic_shares(attributions, nickel, rotations, both, n_random=3)
        for i, center in enumerate(centers):
            one = replace(
                attributions,
                **{
                    name: getattr(attributions, name)[[i]]
                    for name in ("patterns", "images", "values", "explained")
                },
            )
            alone = crystallographic_shares(
                one, nickel, rotations[i], EBSDDetector((60, 60), pc=center), n_random=3
            )
            for name in ("zone_axes", "bands"):
                for field in ("observed", "chance", "p_value", "area", "contrast"):
                    np.testing.assert_allclose(
                        getattr(getattr(alone, name), field)[0],
                        getattr(getattr(together, name), field)[i],
                        rtol=1e-5,
                    )
        assert np.abs(np.diff(together.bands.area)) > 1e-3

    def test_wider_and_more(self, as_attributions, nickel):
        """Larger angles, indices and energies: more, more and narrower."""
        attributions = as_attributions(np.ones((1, 1, 40, 40)))
        options = {"within": 3.0, "max_index": 2, "energy": 20.0}
        areas = []
        for change in ({}, {"within": 6}, {"max_index": 1}, {"energy": 21}):
            shares = crystallographic_shares(
                attributions, nickel, ROTATION, DETECTOR, n_random=1, **options | change
            )
            areas.append((shares.zone_axes.area[0], shares.bands.area[0]))
            assert shares.within == (options | change)["within"]
            assert shares.families.tolist() == [[1, 1, 1], [2, 0, 0], [2, 2, 0]]
        first, wide, few, fast = areas
        assert wide[0] > 2 * first[0] and wide[1] == first[1]
        assert few[0] < 0.7 * first[0] and few[1] == first[1]
        assert fast[1] < first[1] and fast[0] == first[0]

    def test_seed(self, as_attributions, nickel, rng):
        attributions = as_attributions(rng.normal(size=(1, 1, 20, 20)))
        first, again, other = (
            crystallographic_shares(
                attributions, nickel, ROTATION, DETECTOR, n_random=4, seed=seed
            ).bands
            for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(first.chance, again.chance)
        assert first.chance != other.chance
        np.testing.assert_array_equal(first.observed, other.observed)

    def test_table(self, as_attributions, nickel, regions):
        values = np.array([regions[0], np.zeros((20, 20))])[None]
        attributions = as_attributions(values, places=((3, 4),))
        shares = crystallographic_shares(attributions, nickel, ROTATION, DETECTOR, n_random=19)
        header, *rows = shares.table().splitlines()
        assert " ".join(header.split()) == "pattern class region values chance p area contrast"
        assert len(rows) == 4
        first = rows[0].split()
        assert rows[0].startswith("3,4      221 Pm-3m  within 3 deg of zone axes")
        share = shares.zone_axes
        assert first[first.index("axes") + 1 :] == [
            "1.000",
            f"{share.chance[0, 0]:.3f}",
            "+-",
            f"{share.spread[0, 0]:.3f}",
            "0.050",
            f"{share.area[0]:.3f}",
            f"{share.contrast[0]:.3f}",
        ]
        assert "{111} {200} {220}" in rows[1]
        assert rows[2].split()[1:3] == ["225", "Fm-3m"] and "nan" in rows[2]

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"n_random": 0}, "n_random=0 must be an integer of at least 1"),
            ({"max_index": 1.5}, "max_index=1.5 must be an integer"),
            ({"sign": "plus"}, "sign='plus', but it must be one of both, positive, negative"),
            ({"within": 0}, "within=0, but it must be an angle between 0 and 90"),
            ({"within": 90}, "within=90, but it must be"),
            ({"details": True}, "There are no details"),
            ({"rotations": Rotation(np.eye(4)[:2])}, "2 rotations given for 1 patterns"),
            ({"detector": EBSDDetector((60, 61))}, r"shape \(60, 61\), but the patterns have \(60"),
            (
                {"detector": EBSDDetector((60, 60), pc=[(0.5, 0.5, 0.5)] * 3)},
                "3 projection centers for 1 patterns",
            ),
        ],
    )
    def test_wrong_arguments(self, as_attributions, nickel, options, match):
        arguments = {"rotations": ROTATION, "detector": DETECTOR, **options}
        with pytest.raises(ValueError, match=match):
            crystallographic_shares(as_attributions(np.ones((1, 1, 20, 20))), nickel, **arguments)


class TestGeometricalSimulations:
    def test_is_silent(self, nickel, capfd):
        (simulation,) = geometrical_simulations(nickel, ROTATION, DETECTOR)
        assert capfd.readouterr() == ("", "")
        assert len(simulation.lines_coordinates()) > 5
        assert simulation.detector.shape == (60, 60)

    def test_energy(self, nickel):
        thetas = [
            geometrical_simulations(nickel, ROTATION, DETECTOR, energy=energy)[0].reflectors.theta
            for energy in (10, 20)
        ]
        assert thetas[0].min() > 1.3 * thetas[1].min()

    def test_one_center_for_all(self, nickel):
        rotations = Rotation.from_euler([[0, 1, 0], [0.4, 0.9, 0.2]])
        _, simulation = geometrical_simulations(nickel, rotations, DETECTOR)
        (alone,) = geometrical_simulations(nickel, ROTATION, DETECTOR)
        np.testing.assert_allclose(simulation.lines_coordinates(), alone.lines_coordinates())

    def test_number_of_centers(self, nickel):
        detector = EBSDDetector((60, 60), pc=[(0.5, 0.5, 0.5)] * 3)
        with pytest.raises(ValueError, match="3 projection centers for 2 patterns"):
            geometrical_simulations(nickel, Rotation(np.eye(4)[:2]), detector)


class TestOrientationsAt:
    def test_places(self, signal):
        places = ((2, 1), (0, 0), (2, 1))
        rotations, detector = orientations_at(signal, places)
        expected = signal.xmap.rotations.reshape(3, 3)
        centers = signal.detector.pc
        for i, place in enumerate(places):
            assert rotations[i].angle_with(expected[place])[0] < 1e-6
            np.testing.assert_allclose(detector.pc_flattened[i], centers[place])
        assert signal.detector.navigation_shape == (3, 3)

    def test_one_center(self, signal):
        signal.detector.pc = (0.4, 0.2, 0.5)
        _, detector = orientations_at(signal, ((0, 0), (1, 1)))
        np.testing.assert_allclose(detector.pc_flattened, [(0.4, 0.2, 0.5)])

    def test_best_of_several(self, signal):
        data = np.stack([signal.xmap.rotations.data, np.eye(4)[[1] * 9]], axis=1)
        xmap = signal.xmap
        signal.xmap = CrystalMap(Rotation(data), x=xmap.x, y=xmap.y, phase_list=xmap.phases)
        rotations, _ = orientations_at(signal, ((1, 2),))
        np.testing.assert_allclose(rotations.data[0], data[5, 0])

    def test_line(self, signal):
        line = signal.inav[:, 1]
        line = EBSD(line.data)
        line.detector = EBSDDetector((60, 60), pc=(0.4, 0.2, 0.5))
        data = signal.xmap.rotations.data[3:6]
        line.xmap = CrystalMap(Rotation(data), x=np.arange(3.0), phase_list=signal.xmap.phases)
        rotations, _ = orientations_at(line, ((2,), (0,)))
        np.testing.assert_allclose(rotations.data, data[[2, 0]])

    def test_part_of_a_map(self, signal):
        """Points that were left out are counted, and told."""
        mask = np.ones(9, bool)
        mask[[1, 3]] = False
        whole = signal.xmap
        signal._xmap = whole[mask]
        rotations, _ = orientations_at(signal, ((0, 0), (1, 1), (2, 2)))
        np.testing.assert_allclose(rotations.data, whole.rotations.data[[0, 4, 8]])
        with pytest.raises(ValueError, match=r"The pattern at \(1, 0\) is not indexed in the sign"):
            orientations_at(signal, ((0, 0), (1, 0)))

    def test_not_indexed(self, signal):
        xmap = signal.xmap
        xmap.phases.add(Phase("other", space_group=225))
        xmap[0, 2].phase_id = -1
        with pytest.raises(ValueError, match=r"The pattern at \(0, 2\) is not indexed"):
            orientations_at(signal, ((0, 0), (0, 2)))
        orientations_at(signal, ((0, 0),))

    @pytest.mark.parametrize(
        ("part", "place", "original"),
        [
            ((slice(1, None), slice(None, 2)), (1, 0), (1, 1)),
            ((1, 2), (), (2, 1)),
        ],
    )
    def test_sliced_signal(self, signal, part, place, original):
        """As for classify_space_group()."""
        rotations, detector = orientations_at(signal.inav[part], (place,))
        expected = signal.xmap.rotations.reshape(3, 3)[original]
        assert rotations.angle_with(expected)[0] < 1e-6
        np.testing.assert_allclose(detector.pc_flattened[0], signal.detector.pc[original])

    def test_no_map(self, signal):
        with pytest.raises(ValueError, match="no crystal map with an orientation for each pattern"):
            orientations_at(EBSD(signal.data), ((0, 0),))

    def test_never_indexed(self, signal):
        signal.xmap = CrystalMap.empty((3, 3))
        with pytest.raises(ValueError, match="All orientations .* are identity.*hough_indexing"):
            orientations_at(signal, ((0, 0),))


def test_nothing_in_sight(as_attributions, nickel):
    """Zone axes as small as this are on no pixel."""
    shares = crystallographic_shares(
        as_attributions(np.ones((1, 1, 20, 20))), nickel, ROTATION, DETECTOR, within=1e-4
    )
    assert shares.zone_axes.observed == 0
    assert np.isnan(shares.zone_axes.chance) and np.isnan(shares.zone_axes.p_value)
    assert np.isfinite(shares.bands.chance) and np.isfinite(shares.bands.p_value)


def test_no_values(as_attributions, nickel):
    shares = crystallographic_shares(
        as_attributions(np.zeros((1, 1, 20, 20))), nickel, ROTATION, DETECTOR, n_random=5
    )
    for share in (shares.zone_axes, shares.bands):
        assert np.isnan([share.observed, share.chance, share.spread, share.p_value]).all()
        assert 0 < share.area < 1


def test_indices_with_signs(as_attributions, phases):
    shares = crystallographic_shares(
        as_attributions(np.ones((1, 1, 20, 20))),
        phases["NiTi-B19prime"],
        ROTATION,
        DETECTOR,
        n_random=1,
    )
    assert "{1 1 -1}" in shares.table()
