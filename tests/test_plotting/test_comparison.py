import numpy as np
import pytest
from matplotlib.colors import to_rgb
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation

from kikuchipy_cnn.comparison import compare_phase_maps
from kikuchipy_cnn.plotting import ipf_image, plot_agreement, plot_phase_maps
from kikuchipy_cnn.space_groups import space_group_color

NICKEL, IRON = to_rgb(space_group_color(225)), to_rgb(space_group_color(229))
MASKED, WHITE, TIE = to_rgb("0.7"), to_rgb("white"), to_rgb("crimson")
AGREES, DIFFERS = to_rgb("0.9"), to_rgb("tab:red")
LABELS = {225: r"$Fm\overline{3}m$", 229: r"$Im\overline{3}m$"}
PHASES = {225: Phase("Ni", space_group=225), 229: Phase("Fe-bcc", space_group=229)}
ONE = [225, 225, 229, 229, 225, -1]
OTHER = [225, 229, 229, 229, 229, 225]
NOT_MASKED = np.arange(6) != 3


def make(ids=ONE, phases=PHASES, shape=(2, 3), rotations=None, is_in_data=None, **properties):
    y, x = (0.5 * i.ravel() for i in np.indices(shape))
    ids = np.array(ids)
    return CrystalMap(
        rotations=Rotation.identity((ids.size,)) if rotations is None else rotations,
        phase_id=ids,
        x=x if shape[1] > 1 else None,
        y=y if shape[0] > 1 else None,
        phase_list=PhaseList({i: phase for i, phase in phases.items() if i in ids}),
        prop={name: np.array(values) for name, values in properties.items()},
        scan_unit="um",
        is_in_data=is_in_data,
    )


def legend_of(fig):
    legend = fig.legends[0]
    return {
        text.get_text(): to_rgb(patch.get_facecolor())
        for text, patch in zip(legend.get_texts(), legend.get_patches(), strict=True)
    }


def pixels(ax):
    return ax.images[0].get_array()


class TestPhaseMaps:
    def test_colors_and_legend(self):
        fig = plot_phase_maps({"network": make(is_in_data=NOT_MASKED), "Hough": make(OTHER)})
        assert [ax.get_title() for ax in fig.axes] == ["network", "Hough"]
        np.testing.assert_allclose(
            pixels(fig.axes[0]), [[NICKEL, NICKEL, IRON], [MASKED, NICKEL, WHITE]]
        )
        np.testing.assert_allclose(
            pixels(fig.axes[1]), [[NICKEL, IRON, IRON], [IRON, IRON, NICKEL]]
        )
        legend = legend_of(fig)
        assert list(legend) == [LABELS[225], LABELS[229], "masked", "not indexed"]
        assert list(legend.values()) == [NICKEL, IRON, MASKED, WHITE]

    def test_ties(self):
        xmap = make(OTHER, n_tied=[1, 2, 1, 3, 0, 2], is_in_data=NOT_MASKED)
        fig = plot_phase_maps({"Hough": xmap})
        np.testing.assert_allclose(pixels(fig.axes[0]), [[NICKEL, TIE, IRON], [MASKED, IRON, TIE]])
        legend = legend_of(fig)
        assert legend["several phases fit equally"] == TIE
        assert list(legend)[-1] == "several phases fit equally"

        hidden = plot_phase_maps({"Hough": xmap}, show_ties=False)
        np.testing.assert_allclose(pixels(hidden.axes[0])[0], [NICKEL, IRON, IRON])
        assert "several phases fit equally" not in legend_of(hidden)

    def test_phases_of_one_space_group(self):
        aluminium = Phase("Al", space_group=225, color="lime")
        iron, nickel = PHASES[229], Phase("Ni", space_group=225, color="cyan")
        several = make([0, 1, 2, 0, 1, 2], {0: nickel, 1: aluminium, 2: iron})
        classes = {225: Phase("Fm-3m", space_group=225), 229: iron}
        legend = legend_of(plot_phase_maps({"Hough": several, "network": make(phases=classes)}))
        assert legend == {
            f"Ni, {LABELS[225]}": to_rgb("cyan"),
            f"Al, {LABELS[225]}": to_rgb("lime"),
            LABELS[229]: IRON,
            LABELS[225]: NICKEL,
            "not indexed": WHITE,
        }

    def test_no_ties(self):
        fig = plot_phase_maps({"Hough": make(OTHER, n_tied=np.ones(6))})
        assert list(legend_of(fig)) == [LABELS[225], LABELS[229]]

    def test_images(self):
        rng = np.random.default_rng(0)
        grey, colored = rng.random((2, 3)), rng.random((2, 3, 3))
        fig = plot_phase_maps({"SE": grey, "Phases": make(), "IPF": colored})
        first, _, last = fig.axes
        assert first.images[0].get_cmap().name == "gray"
        np.testing.assert_array_equal(pixels(first), grey)
        np.testing.assert_array_equal(pixels(last), colored)
        extents = {tuple(ax.images[0].get_extent()) for ax in fig.axes}
        assert extents == {(-0.25, 1.25, 0.75, -0.25)}

    def test_panels_in_rows(self):
        panels = {str(i): make() for i in range(5)}
        fig = plot_phase_maps(panels, n_columns=2)
        assert len(fig.axes) == 6
        assert [ax.get_title() for ax in fig.axes] == [*"01234", ""]
        assert not fig.axes[5].axison and not fig.axes[5].images
        assert fig.axes[0].get_gridspec().get_geometry() == (3, 2)
        alone = plot_phase_maps({"only": make()})
        assert alone.axes[0].get_gridspec().get_geometry() == (1, 1)

    def test_scale_bar(self):
        first, second = plot_phase_maps({"a": make(), "b": make()}).axes
        assert first.artists[0].txt_label.get_text() == "0.2 µm"
        assert not second.artists

    def test_phase_without_a_space_group(self):
        xmap = make([0, 0, 225, 225, 0, 0], {0: Phase("X", color="lime"), 225: PHASES[225]})
        legend = legend_of(plot_phase_maps({"a": xmap}))
        assert legend == {LABELS[225]: NICKEL, "X": to_rgb("lime")}

    @pytest.mark.parametrize("shape", [(1, 6), (6, 1)])
    def test_row_and_column(self, shape):
        xmap = make(shape=shape)
        fig = plot_phase_maps({"a": xmap, "b": np.zeros(shape)})
        assert pixels(fig.axes[0]).shape == ipf_image(xmap).shape == (*shape, 3)
        left, right, bottom, top = fig.axes[0].images[0].get_extent()
        # Steps of half a micrometre
        assert max(right - left, bottom - top) == 3
        assert min(right - left, bottom - top) > 0

    def test_nothing_is_drawn_outside_the_figure(self):
        fig = plot_phase_maps({"a": make(is_in_data=NOT_MASKED), "b": make(n_tied=[2] * 6)})
        fig.canvas.draw()
        box = fig.get_tightbbox()
        assert box.x0 >= 0 and box.y0 >= 0
        assert box.x1 <= fig.get_size_inches()[0] and box.y1 <= fig.get_size_inches()[1]

    def test_no_map(self):
        with pytest.raises(ValueError, match="no crystal map among the panels"):
            plot_phase_maps({"SE": np.zeros((2, 3))})
        with pytest.raises(ValueError, match="n_columns=0 must be"):
            plot_phase_maps({"a": make()}, n_columns=0)

    @pytest.mark.parametrize("panel", [np.zeros((3, 2)), np.zeros(6), make(shape=(3, 2))])
    def test_other_shapes(self, panel):
        with pytest.raises(ValueError, match=r"Panel 'b' has .* points, but \(2, 3\) are needed"):
            plot_phase_maps({"a": make(), "b": panel})


class TestIPFImage:
    def test_cubic(self):
        """Red is [001], green [101] and blue [111]."""
        rotations = Rotation.from_axes_angles(
            [(0, 0, 1), (1, 0, 0), (1, -1, 0), (0, 0, 1), (0, 0, 1), (0, 0, 1)],
            [10, 45, np.rad2deg(np.arccos(1 / np.sqrt(3))), 10, 0, 10],
            degrees=True,
        )
        xmap = make(rotations=rotations, is_in_data=np.arange(6) != 3)
        image = ipf_image(xmap, "z")
        assert image.shape == (2, 3, 3)
        np.testing.assert_allclose(image[0], [(1, 0, 0), (0, 1, 0), (0, 0, 1)], atol=0.02)
        # Not in the data, identity, not indexed
        np.testing.assert_array_equal(image[1], [WHITE] * 3)

    def test_directions(self):
        """Along y if no other is given."""
        xmap = make(rotations=Rotation.from_axes_angles([(0, 1, 0)] * 6, 45, degrees=True))
        np.testing.assert_allclose(ipf_image(xmap)[0, 0], (1, 0, 0), atol=0.02)
        np.testing.assert_array_equal(ipf_image(xmap), ipf_image(xmap, "y"))
        for direction in "xz":
            np.testing.assert_allclose(ipf_image(xmap, direction)[0, 0], (0, 1, 0), atol=0.02)

    def test_first_of_several_rotations(self):
        several = Rotation.from_axes_angles([[(0, 0, 1), (1, 0, 0)]] * 6, 45, degrees=True)
        np.testing.assert_allclose(
            ipf_image(make(rotations=several), "z")[0, 0], (1, 0, 0), atol=0.02
        )

    def test_as_orix(self):
        from orix.plot import IPFColorKeyTSL
        from orix.quaternion import Orientation
        from orix.vector import Vector3d

        rotations = Rotation(np.random.default_rng(0).standard_normal((6, 4)))
        phases = {225: PHASES[225], 229: Phase("Mg", space_group=194)}
        xmap = make(phases=phases, rotations=rotations)
        image = ipf_image(xmap, "x").reshape(6, 3)
        for i, phase in phases.items():
            chosen = xmap.phase_id == i
            key = IPFColorKeyTSL(phase.point_group.laue, Vector3d.xvector())
            expected = key.orientation2color(Orientation(rotations[chosen].data))
            np.testing.assert_allclose(image[chosen], expected)

    def test_is_a_panel(self):
        xmap = make()
        fig = plot_phase_maps({"IPF": ipf_image(xmap), "Phases": xmap})
        assert len(fig.axes) == 2

    def test_wrong_arguments(self):
        with pytest.raises(ValueError, match="direction='w' must be one of x, y, z"):
            ipf_image(make(), "w")
        with pytest.raises(ValueError, match="'X' has no point group"):
            ipf_image(make([0] * 6, {0: Phase("X")}))


class TestAgreement:
    def test_map(self):
        comparison = compare_phase_maps(make(), make(OTHER), names=["network", "Hough"])
        fig = plot_agreement(comparison)
        np.testing.assert_allclose(
            pixels(fig.axes[0]), [[AGREES, DIFFERS, AGREES], [AGREES, DIFFERS, DIFFERS]]
        )
        assert fig.axes[0].get_title() == "network: contradicted in 50.0% of the points"
        assert legend_of(fig) == {"all agree": AGREES, "another map differs": DIFFERS}

    def test_masked_points(self):
        comparison = compare_phase_maps(make(is_in_data=NOT_MASKED), make(OTHER))
        fig = plot_agreement(comparison)
        np.testing.assert_allclose(
            pixels(fig.axes[0]), [[AGREES, DIFFERS, AGREES], [MASKED, DIFFERS, DIFFERS]]
        )

    def test_part_is_of_points_in_data(self):
        comparison = compare_phase_maps(make(is_in_data=NOT_MASKED), make(OTHER))
        title = plot_agreement(comparison).axes[0].get_title()
        assert title == "map 1: contradicted in 60.0% of the points"

    def test_three_maps(self):
        comparison = compare_phase_maps(make(), make(), make(OTHER))
        fig = plot_agreement(comparison)
        np.testing.assert_allclose(pixels(fig.axes[0])[0], [AGREES, DIFFERS, AGREES])

    def test_confidence(self):
        """Two of three points of the confidence 0.92 are contradicted, and one of 0.02."""
        xmap = make(scores=[0.92, 0.92, 0.62, 0.62, 0.92, 0.02])
        fig = plot_agreement(compare_phase_maps(xmap, make(OTHER), names=["network", "Hough"]))
        _, part, counted = fig.axes
        heights = np.array([bar.get_height() for bar in part.patches])
        assert heights.size == 20
        assert np.flatnonzero(heights).tolist() == [0, 18]
        assert heights[[0, 18]].tolist() == pytest.approx([1, 2 / 3])
        values, edges, _ = counted.patches[0].get_data()
        assert values[[0, 12, 18]].tolist() == [1, 2, 3] and values.sum() == 6
        assert (edges[0], edges[-1]) == (0, 1)
        assert part.get_xlabel() == "Confidence of network"
        assert part.get_ylabel() == "Contradicted part"
        assert counted.get_ylabel() == "Points"

    def test_no_confidence(self):
        fig = plot_agreement(compare_phase_maps(make(), make(OTHER)))
        assert len(fig.axes) == 2
        assert fig.axes[1].texts[0].get_text() == "no confidence in the map"

    @pytest.mark.parametrize("shape", [(2, 3), (1, 6), (6, 1)])
    def test_shapes(self, shape):
        fig = plot_agreement(compare_phase_maps(make(shape=shape), make(OTHER, shape=shape)))
        assert pixels(fig.axes[0]).shape == (*shape, 3)
        fig.canvas.draw()

    def test_one_map(self):
        comparison = compare_phase_maps(make(), truth=np.array(OTHER))
        with pytest.raises(ValueError, match="one map only, and the truth"):
            plot_agreement(comparison)
