import kikuchipy as kp
import numpy as np
import pytest
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation

from kikuchipy_cnn.simulation import (
    Cameras,
    Disturbances,
    load_phases,
    simulate_map,
    simulate_master_pattern,
    simulate_patterns,
)
from kikuchipy_cnn.simulation.signals import hemispheres

SHAPE = (24, 30)


@pytest.fixture(scope="module")
def phases():
    return load_phases()


@pytest.fixture(scope="module")
def master_patterns(phases):
    return {
        name: simulate_master_pattern(phases[name], half_width=60, show_progressbar=False)
        for name in ("Ni", "Al", "SiC-3C")
    }


@pytest.fixture
def detector():
    return kp.detectors.EBSDDetector(SHAPE, pc=(0.45, 0.3, 0.6))


@pytest.fixture
def xmap(phases, rng):
    """Map of 5 rows and 7 columns: two phases, a point not indexed and one outside."""
    y, x = (1.5 * i.ravel() for i in np.mgrid[:5, :7])
    phase_id = rng.integers(1, 3, 35)
    phase_id[:2] = 1, 2
    phase_id[12] = -1
    is_in_data = np.ones(35, bool)
    is_in_data[20] = False
    return CrystalMap(
        rotations=Rotation(rng.standard_normal((35, 4))),
        phase_id=phase_id,
        x=x,
        y=y,
        phase_list=PhaseList({1: phases["Ni"], 2: phases["SiC-3C"]}),
        is_in_data=is_in_data,
        scan_unit="um",
    )


def correlation(a, b):
    return np.corrcoef(np.ravel(a).astype(float), np.ravel(b))[0, 1]


class TestMap:
    def test_patterns(self, xmap, detector, master_patterns):
        """Each point has the pattern that kikuchipy projects for its phase and orientation."""
        signal = simulate_map(xmap, detector, master_patterns)
        assert isinstance(signal, kp.signals.EBSD) and not signal._lazy
        assert signal.data.shape == (5, 7, *SHAPE) and signal.data.dtype == np.uint8
        patterns = signal.data.reshape(35, *SHAPE)
        point = 0
        for i in range(35):
            if i == 20:
                assert (patterns[i] == 0).all()
                continue
            if i == 12:
                assert patterns[i].std() == 0
            else:
                name = xmap.phases[int(xmap.phase_id[point])].name
                expected = master_patterns[name].get_patterns(
                    xmap.rotations[point], detector, compute=True, show_progressbar=False
                )
                assert correlation(patterns[i], expected.data) > 0.99
            point += 1

    def test_truth_and_scales_are_kept(self, xmap, detector, master_patterns):
        signal = simulate_map(xmap, detector, master_patterns)
        assert signal.xmap.shape == (5, 7)
        np.testing.assert_array_equal(signal.xmap.phase_id, xmap.phase_id)
        np.testing.assert_allclose(signal.xmap.rotations.data, xmap.rotations.data)
        assert [axis.scale for axis in signal.axes_manager.navigation_axes] == [1.5, 1.5]
        assert [axis.units for axis in signal.axes_manager.navigation_axes] == ["um", "um"]
        np.testing.assert_allclose(signal.detector.pc, detector.pc)

    def test_camera_is_one_and_noise_is_not(self, phases, detector, master_patterns):
        same = CrystalMap(
            rotations=Rotation.from_euler(np.tile([0.2, 0.4, 0.6], (40, 1))),
            x=np.arange(40),
            phase_list=PhaseList(phases["Ni"]),
        )
        disturbances = Disturbances(noise=(0.8, 0.8), circular=1)
        arguments = (same, detector, master_patterns)
        signal = simulate_map(*arguments, disturbances=disturbances, seed=3, dtype="float32")
        noise = signal.data - signal.data.mean(axis=0)
        assert signal.data.shape == (40, *SHAPE)
        assert abs(correlation(noise[0], noise[1])) < 0.15
        # Blurred noise is weaker, clipped pixels too.
        assert 0.3 < noise.std() < 1.1
        outside = signal.data[:, 0, 0]
        assert (outside == 0).all()
        again = simulate_map(*arguments, disturbances=disturbances, seed=3, dtype="float32")
        np.testing.assert_array_equal(again.data, signal.data)
        other = simulate_map(*arguments, disturbances=disturbances, seed=4, dtype="float32")
        assert not np.array_equal(other.data, signal.data)

    def test_lazy(self, xmap, detector, master_patterns, monkeypatch):
        from kikuchipy_cnn.simulation import signals

        # Chunks of two rows of the map.
        monkeypatch.setattr(signals, "_CHUNK", 15 * SHAPE[0] * SHAPE[1])
        arguments = {"disturbances": Disturbances(), "seed": 1}
        eager = simulate_map(xmap, detector, master_patterns, **arguments)
        lazy = simulate_map(xmap, detector, master_patterns, lazy=True, **arguments)
        assert lazy._lazy and lazy.data.chunks[0] == (2, 2, 1)
        np.testing.assert_array_equal(lazy.data.compute(), eager.data)
        # A part is the same, computed alone.
        np.testing.assert_array_equal(lazy.data[3, 2:5].compute(), eager.data[3, 2:5])
        assert lazy.xmap.shape == (5, 7)

    @pytest.mark.parametrize(
        "coordinates", [{"x": [0]}, {"y": [0, 2, 4]}, {"x": [0, 1, 0, 1], "y": [0, 0, 2, 2]}]
    )
    def test_small_maps(self, coordinates, phases, detector, master_patterns):
        """A point, a column, a square."""
        coordinates = {name: np.array(values) for name, values in coordinates.items()}
        n = len(next(iter(coordinates.values())))
        xmap = CrystalMap(
            rotations=Rotation(np.eye(4)[:n]), phase_list=PhaseList(phases["Ni"]), **coordinates
        )
        signal = simulate_map(xmap, detector, master_patterns)
        assert signal.data.reshape(-1, *SHAPE).shape == (n, *SHAPE)
        assert signal.data.std() > 20
        if list(coordinates) == ["y"]:
            (axis,) = signal.axes_manager.navigation_axes
            assert (axis.name, axis.scale) == ("y", 2)

    def test_exposure_is_of_the_whole_map(self, phases, detector, master_patterns, monkeypatch):
        """Although the first chunks hold nothing but points that are not indexed."""
        from kikuchipy_cnn.simulation import signals

        monkeypatch.setattr(signals, "_CHUNK", 12 * SHAPE[0] * SHAPE[1])
        phase_id = np.repeat([-1, 0], 12)
        xmap = CrystalMap(
            rotations=Rotation(np.random.default_rng(0).standard_normal((24, 4))),
            phase_id=phase_id,
            x=np.arange(24),
            phase_list=PhaseList(phases["Ni"]),
        )
        data = simulate_map(xmap, detector, master_patterns).data[12:]
        assert ((data == 0) | (data == 255)).mean() < 0.005

    def test_one_hemisphere(self, phases, detector, master_patterns):
        """It is completed by inversion, whatever kikuchipy would do."""
        both = simulate_master_pattern(phases["Al2O3"], half_width=40, show_progressbar=False)
        upper = kp.signals.EBSDMasterPattern(
            both.data[0], projection="lambert", hemisphere="upper", phase=both.phase
        )
        xmap = CrystalMap(
            rotations=Rotation.from_euler([[0.4, 2.2, 0.3], [1, 1.7, 2]]),
            x=np.arange(2),
            phase_list=PhaseList(phases["Al2O3"]),
        )
        one, two = (simulate_map(xmap, detector, {"Al2O3": m}).data for m in (upper, both))
        assert correlation(one, two) > 0.999

    def test_master_pattern_of_another_group(self, phases, detector, master_patterns):
        xmap = CrystalMap(
            rotations=Rotation(np.eye(4)[:2]),
            x=np.arange(2),
            phase_list=PhaseList(Phase("Ni", space_group=194)),
        )
        with pytest.raises(ValueError, match="'Ni' of the map has space group 194, its master"):
            simulate_map(xmap, detector, master_patterns)

    def test_projection_centers(self, xmap, detector, master_patterns, rng):
        """One for each point."""
        detector.pc = np.array([0.45, 0.3, 0.6]) + rng.uniform(-0.1, 0.1, (5, 7, 3))
        signal = simulate_map(xmap, detector, master_patterns)
        one = detector.deepcopy()
        one.pc = detector.pc[0, 1]
        name = xmap.phases[int(xmap.phase_id[1])].name
        expected = master_patterns[name].get_patterns(
            xmap.rotations[1], one, compute=True, show_progressbar=False
        )
        assert correlation(signal.data[0, 1], expected.data) > 0.99

    def test_packaged_master_patterns(self, detector, phases):
        xmap = CrystalMap(
            rotations=Rotation(np.eye(4)), x=np.arange(4), phase_list=PhaseList(phases["Ni3Al"])
        )
        assert simulate_map(xmap, detector, dtype="uint16").data.dtype == np.uint16

    def test_saved(self, xmap, detector, master_patterns, tmp_path):
        """kikuchipy writes and reads it with the truth."""
        signal = simulate_map(xmap, detector, master_patterns)
        signal.save(tmp_path / "map.h5")
        loaded = kp.load(tmp_path / "map.h5")
        np.testing.assert_array_equal(loaded.data, signal.data)
        np.testing.assert_array_equal(loaded.xmap.phase_id, xmap.phase_id)

    def test_invalid(self, xmap, detector, master_patterns):
        with pytest.raises(ValueError, match="dtype=int8 cannot be used"):
            simulate_map(xmap, detector, master_patterns, dtype="int8")
        detector.pc = np.tile([0.5, 0.5, 0.5], (3, 1))
        with pytest.raises(ValueError, match=r"projection centers of shape \(3,\), the map has"):
            simulate_map(xmap, detector, master_patterns)

    def test_unknown_phase(self, detector):
        xmap = CrystalMap(
            rotations=Rotation(np.eye(4)[:2]),
            x=np.arange(2),
            phase_list=PhaseList(Phase("Unobtainium", space_group=225)),
        )
        with pytest.raises(ValueError, match="no master pattern of the map's phase 'Unobtainium'"):
            simulate_map(xmap, detector)

    def test_neighbours(self, xmap, detector, master_patterns, rng):
        """Shares of nothing, of all, and between."""
        beside = xmap.deepcopy()
        beside._rotations = Rotation(rng.standard_normal((35, 4)))
        alone, other = (
            simulate_map(i, detector, master_patterns, dtype="float32").data for i in (xmap, beside)
        )
        overlap = rng.choice([0, 0.3, 1], (5, 7))
        overlap[0, :3] = 0, 0.3, 1
        mixed = simulate_map(
            xmap,
            detector,
            master_patterns,
            neighbours=beside,
            overlap=overlap,
            dtype="float32",
        ).data
        np.testing.assert_array_equal(mixed[overlap == 0], alone[overlap == 0])
        np.testing.assert_allclose(mixed[overlap == 1], other[overlap == 1], atol=1e-4)
        # Patterns of one strength are mixed, and the sum is given that strength
        expected = 0.7 * alone[0, 1] + 0.3 * other[0, 1]
        np.testing.assert_allclose(mixed[0, 1], expected / expected.std(), atol=1e-3)
        assert (mixed[2, 6] == 0).all()

    def test_neighbours_of_another_phase(self, phases, detector, master_patterns):
        """Lazily, too, and from the packaged library."""
        rotations = Rotation.from_euler([[0.1, 0.5, 0.9], [1.2, 0.3, 0.4], [2, 1, 0.2]])
        maps = [
            CrystalMap(rotations=rotations, x=np.arange(3), phase_list=PhaseList(phases[name]))
            for name in ("Ni", "Fe-bcc")
        ]
        arguments = {"neighbours": maps[1], "overlap": [0, 0.5, 1], "dtype": "float32"}
        signal, lazy = (simulate_map(maps[0], detector, lazy=i, **arguments) for i in (False, True))
        np.testing.assert_array_equal(lazy.data.compute(), signal.data)
        iron = simulate_map(maps[1], detector, dtype="float32").data
        assert correlation(signal.data[0], iron[0]) < 0.9
        assert 0.5 < correlation(signal.data[1], iron[1]) < 0.99
        assert correlation(signal.data[2], iron[2]) > 0.9999
        # The truth stays that of the map
        assert signal.xmap.phases.names == ["Ni"]

    @pytest.mark.parametrize(
        ("overlap", "match"),
        [
            (np.zeros(35), r"overlap of shape \(35,\) must be of shape \(5, 7\)"),
            (np.zeros((7, 5)), r"overlap of shape \(7, 5\) must be"),
            (np.full((5, 7), 1.1), "from 0 to 1"),
            (np.full((5, 7), -0.1), "from 0 to 1"),
            (np.full((5, 7), np.nan), "from 0 to 1"),
        ],
    )
    def test_wrong_overlap(self, xmap, detector, master_patterns, overlap, match):
        with pytest.raises(ValueError, match=match):
            simulate_map(xmap, detector, master_patterns, neighbours=xmap, overlap=overlap)

    def test_wrong_neighbours(self, xmap, phases, detector, master_patterns):
        for one in ({"neighbours": xmap}, {"overlap": np.zeros((5, 7))}):
            with pytest.raises(ValueError, match="Give both neighbours and overlap, or neither"):
                simulate_map(xmap, detector, master_patterns, **one)
        row = CrystalMap(
            rotations=Rotation(np.eye(4)), x=np.arange(4), phase_list=PhaseList(phases["Ni"])
        )
        with pytest.raises(ValueError, match=r"shape \(4,\), the map \(5, 7\)"):
            simulate_map(xmap, detector, master_patterns, neighbours=row, overlap=np.zeros((5, 7)))
        unknown = xmap.deepcopy()
        unknown.phases[2].name = "Unobtainium"
        with pytest.raises(ValueError, match="no master pattern of the map's phase 'Unobtainium'"):
            simulate_map(
                xmap, detector, master_patterns, neighbours=unknown, overlap=np.zeros((5, 7))
            )

    def test_camera_that_was_drawn_before(self, xmap, detector, master_patterns):
        """It is the one that its ranges and its seed give, and records two maps alike."""
        disturbances = Disturbances(noise=(0, 0))
        drawn = simulate_map(xmap, detector, master_patterns, disturbances=disturbances, seed=3)
        camera = Cameras.draw(disturbances, 1, 3)
        for seed in (3, 5):
            again = simulate_map(xmap, detector, master_patterns, disturbances=camera, seed=seed)
            np.testing.assert_array_equal(again.data, drawn.data)
        other = simulate_map(xmap[:2], detector, master_patterns, disturbances=camera, dtype=float)
        whole = simulate_map(xmap, detector, master_patterns, disturbances=camera, dtype=float)
        np.testing.assert_allclose(other.data, whole.data[:2], atol=1e-6)

    def test_noise_of_a_camera_follows_the_seed(self, xmap, detector, master_patterns):
        camera = Cameras.draw(Disturbances(noise=(0.5, 0.5)), 1, 0)
        arguments = {"disturbances": camera, "dtype": "float32"}
        one, same, other = (
            simulate_map(xmap, detector, master_patterns, seed=i, **arguments).data
            for i in (1, 1, 2)
        )
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, other)

    def test_several_cameras(self, xmap, detector, master_patterns):
        with pytest.raises(ValueError, match="2 cameras are given; one records all of a map"):
            simulate_map(xmap, detector, master_patterns, disturbances=Cameras.draw(None, 2, 0))


class TestPatterns:
    def test_labels_are_the_truth(self, master_patterns):
        """kikuchipy makes the same patterns of phases, rotations and projection centers."""
        signal = simulate_patterns(
            list(master_patterns.values()),
            12,
            shape=SHAPE,
            disturbances=Disturbances.none(),
            show_progressbar=False,
        )
        assert signal.data.shape == (12, *SHAPE) and signal.data.dtype == np.uint8
        xmap, detector = signal.xmap, signal.detector
        assert len(set(xmap.phase_id)) == 3
        assert detector.pc.shape == (12, 3)
        for i in range(12):
            one = detector.deepcopy()
            one.pc = detector.pc[i]
            master_pattern = master_patterns[xmap.phases[int(xmap.phase_id[i])].name]
            expected = master_pattern.get_patterns(
                xmap.rotations[i], one, compute=True, show_progressbar=False
            )
            assert correlation(signal.data[i], expected.data) > 0.995

    def test_detector(self, master_patterns, detector):
        nickel = master_patterns["Ni"]
        signal = simulate_patterns([nickel], 5, detector=detector, show_progressbar=False)
        assert signal.data.shape == (5, *SHAPE)
        np.testing.assert_allclose(signal.detector.pc, np.tile(detector.pc, (5, 1)), atol=0.08)

    def test_seed_and_saving(self, master_patterns, tmp_path):
        def simulate(seed):
            masters = [master_patterns["Ni"], master_patterns["Al"]]
            return simulate_patterns(masters, 6, seed=seed, show_progressbar=False)

        signal, again, other = simulate(1), simulate(1), simulate(2)
        np.testing.assert_array_equal(signal.data, again.data)
        assert not np.array_equal(signal.data, other.data)
        signal.save(tmp_path / "patterns.h5")
        loaded = kp.load(tmp_path / "patterns.h5")
        np.testing.assert_array_equal(loaded.data, signal.data)
        assert [p.name for _, p in loaded.xmap.phases] == [p.name for _, p in signal.xmap.phases]
        np.testing.assert_array_equal(loaded.xmap.phase_id, signal.xmap.phase_id)
        np.testing.assert_allclose(loaded.xmap.overlap, signal.xmap.overlap)
        assert (loaded.xmap.space_group == 225).all()
        np.testing.assert_allclose(loaded.detector.pc, signal.detector.pc, atol=1e-6)

    def test_probabilities(self, master_patterns):
        masters = [master_patterns["Ni"], master_patterns["Al"]]
        signal = simulate_patterns(
            masters, 300, shape=(8, 8), probabilities=[3, 1], show_progressbar=False
        )
        assert 0.65 < (signal.xmap.phase_id == 0).mean() < 0.85

    @pytest.mark.parametrize(
        "arguments, match",
        [
            ({"n": 0}, "n=0 patterns; give at least 1"),
            ({"master_patterns": []}, "No master pattern is given"),
            ({"dtype": "complex64"}, "dtype=complex64 cannot be used"),
            ({"probabilities": [1, 2]}, "1 master patterns, but 2 probabilities"),
            ({"master_patterns": "of two sizes"}, "differ in size: {'Ni': 121, 'Al': 21}"),
        ],
    )
    def test_invalid(self, master_patterns, arguments, match):
        given = {"master_patterns": [master_patterns["Ni"]], "n": 2, "show_progressbar": False}
        if arguments.get("master_patterns") == "of two sizes":
            small = kp.signals.EBSDMasterPattern(
                np.ones((2, 21, 21)),
                projection="lambert",
                hemisphere="both",
                phase=master_patterns["Al"].phase,
            )
            arguments = {"master_patterns": [master_patterns["Ni"], small]}
        with pytest.raises(ValueError, match=match):
            simulate_patterns(**(given | arguments))


class TestHemispheres:
    def test_one_hemisphere_and_energies(self):
        upper = kp.data.nickel_ebsd_master_pattern_small(projection="lambert")
        both = hemispheres(upper)
        np.testing.assert_array_equal(both[0], upper.data)
        np.testing.assert_array_equal(both[1], upper.data[::-1, ::-1])
        upper.hemisphere = "lower"
        np.testing.assert_array_equal(hemispheres(upper)[1], upper.data)

        energies = kp.signals.EBSDMasterPattern(
            np.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4),
            axes=[{"name": n, "size": s} for n, s in
                  (("hemisphere", 2), ("energy", 3), ("height", 4), ("width", 4))],
            projection="lambert",
            hemisphere="both",
        )  # fmt: skip
        np.testing.assert_array_equal(hemispheres(energies), energies.data[:, -1])

    def test_wrong_projection(self):
        with pytest.raises(ValueError, match='is in the stereographic projection.*"lambert"'):
            hemispheres(kp.data.nickel_ebsd_master_pattern_small())
