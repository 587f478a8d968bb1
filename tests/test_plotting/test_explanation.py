from dataclasses import replace

import kikuchipy as kp
import numpy as np
import pytest
from diffsims.crystallography import ReciprocalLatticeVector
from matplotlib.collections import LineCollection, PathCollection
from orix.crystal_map import Phase
from orix.quaternion import Rotation

from kikuchipy_cnn import SpaceGroupClasses
from kikuchipy_cnn.explanation.attributions import Attributions
from kikuchipy_cnn.label_classes import LabelClasses
from kikuchipy_cnn.plotting import symbol_label
from kikuchipy_cnn.plotting.explanation import plot_attribution_comparison, plot_attributions
from kikuchipy_cnn.preprocessing import PatternTransform

CLASSES = SpaceGroupClasses((221, 225, 229))
PROBABILITIES = np.array([[0.25, 0.7, 0.05], [0.6, 0.3, 0.1], [0.0, 0.125, 0.875]])
SIZE = 32
CONTRIBUTION = "Contribution to the logit, per pixel"


def make(n=3, k=2, shape=(40, 40), seed=0, **kwargs):
    """Contributions to the logits of the most probable classes."""
    rng = np.random.default_rng(seed)
    probabilities = PROBABILITIES[np.arange(n) % 3]
    fields = {
        "method": "DeepSHAP",
        "patterns": np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8),
        "images": np.zeros((n, SIZE, SIZE), np.float32),
        "values": rng.normal(scale=1e-3, size=(n, k, SIZE, SIZE)).astype(np.float32),
        "explained": np.argsort(-probabilities, axis=1)[:, np.arange(k) % 3],
        "classes": CLASSES,
        "transform": PatternTransform(size=SIZE),
        "logits": np.log(probabilities + 1e-6),
        "probabilities": probabilities,
        "expected_logits": np.zeros(3),
        "places": tuple((i // 2, i % 2) for i in range(n)),
    }
    return Attributions(**{**fields, **kwargs})


def make_importance(n=3, k=2, **kwargs):
    values = np.random.default_rng(1).random((n, k, SIZE, SIZE))
    given = {"method": "Grad-CAM", "values": values, "expected_logits": None}
    return make(n, k, **{**given, **kwargs})


def corner_mask(shape=(40, 40)):
    mask = np.zeros(shape, bool)
    mask[:5, :7] = True
    return mask


def panels_of(fig, n_columns):
    """Axes with images by row and column, and those of color bars."""
    panels = [ax for ax in fig.axes if ax.images]
    return np.array(panels).reshape(-1, n_columns), [ax for ax in fig.axes if not ax.images]


def drawn_values(ax):
    return ax.images[1].get_array()


def drawn_colors(ax):
    image = ax.images[1]
    return image.to_rgba(image.get_array())


def assert_within_figure(fig):
    fig.draw_without_rendering()
    box = fig.get_tightbbox()
    assert box.x0 >= 0 and box.y0 >= 0
    assert box.x1 <= fig.get_size_inches()[0] and box.y1 <= fig.get_size_inches()[1]


class TestContributions:
    def test_panels(self):
        attributions = make()
        panels, bars = panels_of(plot_attributions(attributions), 3)
        assert panels.shape == (3, 3) and len(bars) == 1
        values = attributions.on_patterns()
        for i, (top, *others) in enumerate(panels.T):
            (image,) = top.images
            np.testing.assert_array_equal(image.get_array(), attributions.patterns[i])
            assert image.get_alpha() is None
            for j, ax in enumerate(others):
                beneath, _ = ax.images
                np.testing.assert_array_equal(beneath.get_array(), attributions.patterns[i])
                assert beneath.get_clim() == image.get_clim()
                assert 0 < beneath.get_alpha() < 0.6
                np.testing.assert_allclose(drawn_values(ax), values[i, j])

    def test_titles(self):
        panels, _ = panels_of(plot_attributions(make()), 3)
        first, second, third = (symbol_label(number) for number in CLASSES.labels)
        assert [[ax.get_title() for ax in row] for row in panels] == [
            ["(0, 0)", "(0, 1)", "(1, 0)"],
            [f"{second}  0.70", f"{first}  0.60", f"{third}  0.88"],
            [f"{first}  0.25", f"{second}  0.30", f"{second}  0.12"],
        ]

    @pytest.mark.parametrize(("places", "title"), [(None, "0"), (((7,),), "7"), (((),), "")])
    def test_title_outside_a_map_of_two_dimensions(self, places, title):
        panels, _ = panels_of(plot_attributions(make(1, 1, places=places)), 1)
        assert panels[0, 0].get_title() == title

    def test_names_of_other_classes(self):
        classes = LabelClasses(("Ni", "Ni3Al", "m-3m"), (225, 225, None))
        panels, _ = panels_of(plot_attributions(make(1, classes=classes)), 1)
        assert [ax.get_title() for ax in panels[1:, 0]] == ["Ni3Al  0.70", "Ni  0.25"]

    def test_one_symmetric_scale(self):
        attributions = make()
        fig = plot_attributions(attributions)
        panels, (bar,) = panels_of(fig, 3)
        norm = panels[1, 0].images[1].norm
        assert all(ax.images[1].norm is norm for ax in panels[1:].flat)
        limit = np.percentile(np.abs(attributions.on_patterns()), 99.5)
        assert (norm.vmin, norm.vmax) == pytest.approx((-limit, limit))
        assert limit < np.abs(attributions.on_patterns()).max()
        assert bar.get_ylabel() == CONTRIBUTION
        assert bar.get_ylim() == pytest.approx((-limit, limit))
        # A pointed end at both sides.
        assert len(bar.patches) == 2
        upper, lower = panels[0, -1].get_position(), panels[-1, -1].get_position()
        box = bar.get_position(original=True)
        assert (box.y0, box.y1) == pytest.approx((lower.y0, upper.y1))

    def test_scale_of_next_to_nothing(self):
        values = np.zeros((1, 1, SIZE, SIZE), np.float32)
        # As many pixels as the network has.
        nothing = make(1, 1, shape=(SIZE, SIZE), values=values)
        panels, _ = panels_of(plot_attributions(nothing), 1)
        assert panels[1, 0].images[1].get_clim() == (-1, 1)
        values[0, 0, 3, 4] = -0.25
        panels, _ = panels_of(plot_attributions(nothing), 1)
        assert panels[1, 0].images[1].get_clim() == pytest.approx((-0.25, 0.25))

    def test_colors(self):
        values = np.zeros((1, 1, SIZE, SIZE), np.float32)
        values[0, 0, :8], values[0, 0, 8:16] = 1, -1
        attributions = make(1, 1, shape=(SIZE, SIZE), values=values)
        panels, _ = panels_of(plot_attributions(attributions), 1)
        red, blue, nothing = drawn_colors(panels[1, 0])[[0, 8, 16], 0]
        assert red[0] > 0.8 and red[2] < 0.2 and red[3] == 1
        assert blue[2] > 0.7 and blue[0] < 0.1 and blue[3] == 1
        assert nothing[3] == 0

    def test_masked_pixels(self):
        mask = corner_mask()
        attributions = make(signal_mask=mask)
        attributions.values[:, :, :3, :3] = 10
        attributions.patterns[:, mask] = 255
        attributions.patterns[:, 20:, 20:] //= 2
        panels, _ = panels_of(plot_attributions(attributions), 3)
        pattern = attributions.patterns[0][~mask]
        limits = np.percentile(pattern, (0.5, 99.5))
        assert panels[0, 0].images[0].get_clim() == pytest.approx(tuple(limits))
        limit = np.percentile(np.abs(attributions.on_patterns()[:, :, ~mask]), 99.5)
        for ax in panels[1:].flat:
            assert ax.images[1].get_clim() == pytest.approx((-limit, limit))
            alpha = drawn_colors(ax)[..., 3]
            assert np.all(alpha[mask] == 0) and np.mean(alpha[~mask] > 0) > 0.9
        everywhere = np.percentile(np.abs(attributions.on_patterns()), 99.5)
        assert everywhere > 100 * limit

    def test_single_pixels_take_no_contrast(self):
        attributions = make(1, 1)
        attributions.patterns[:] = 100 + np.arange(40)
        attributions.patterns[0, 5, 5], attributions.patterns[0, 6, 6] = 255, 0
        panels, _ = panels_of(plot_attributions(attributions), 1)
        assert panels[0, 0].images[0].get_clim() == (100, 139)

    @pytest.mark.parametrize(
        ("n", "k", "shape"), [(1, 1, (40, 40)), (2, 6, (30, 60)), (12, 1, (60, 40))]
    )
    def test_sizes(self, n, k, shape):
        fig = plot_attributions(make(n, k, shape))
        panels, _ = panels_of(fig, n)
        assert panels.shape == (1 + k, n)
        assert_within_figure(fig)
        boxes = [ax.get_window_extent() for ax in panels.flat]
        for ax, box in zip(panels.flat, boxes, strict=True):
            assert ax.get_aspect() == 1
            # Nothing had to shrink for it.
            assert ax.get_position().bounds == pytest.approx(ax.get_position(True).bounds)
            assert box.height / box.width == pytest.approx(shape[0] / shape[1])
        for upper, lower in zip(panels[:-1, 0], panels[1:, 0], strict=True):
            assert lower.title.get_window_extent().y1 < upper.get_window_extent().y0


class TestImportance:
    def test_scale(self):
        attributions = make_importance(signal_mask=corner_mask())
        panels, (bar,) = panels_of(plot_attributions(attributions), 3)
        assert panels.shape == (3, 3)
        assert bar.get_ylabel() == "Importance" and not bar.patches
        values = attributions.on_patterns()
        for (j, i), ax in np.ndenumerate(panels[1:]):
            assert ax.images[1].get_clim() == (0, 1)
            drawn = drawn_values(ax)
            np.testing.assert_array_equal(drawn.mask, attributions.signal_mask)
            np.testing.assert_allclose(drawn.data, values[i, j])
            assert set(drawn_colors(ax)[..., 3].flat) == {0, 0.4}
        image = panels[1, 0].images[1]
        blue, red = image.to_rgba(np.array([[0.0, 1.0]]))[0]
        np.testing.assert_allclose(blue[:3], (0, 0, 0.5))
        np.testing.assert_allclose(red[:3], (0.5, 0, 0))

    def test_details(self):
        details = np.random.default_rng(2).uniform(-1, 1, (3, 2, SIZE, SIZE))
        attributions = make_importance(details=details, signal_mask=corner_mask())
        fig = plot_attributions(attributions)
        panels, bars = panels_of(fig, 3)
        assert panels.shape == (5, 3)
        assert [bar.get_ylabel() for bar in bars] == ["Importance", "Guided Grad-CAM"]
        values, details = attributions.on_patterns(), attributions.details_on_patterns()
        for (j, i), ax in np.ndenumerate(panels[1:3]):
            np.testing.assert_allclose(drawn_values(ax).data, values[i, j])
            below = panels[3 + j, i]
            assert below.get_title() == ax.get_title() != ""
            np.testing.assert_allclose(drawn_values(below).data, details[i, j])
            np.testing.assert_array_equal(drawn_values(below).mask, attributions.signal_mask)
            assert below.images[1].get_clim() == (-1, 1)
        red, nothing, blue = panels[3, 0].images[1].to_rgba(np.array([[1.0, 0.0, -1.0]]))[0]
        assert red[0] > red[2] and blue[2] > blue[0] and nothing[3] == 0
        # Each stands beside its rows.
        for bar, rows in zip(bars, (panels[1:3, -1], panels[3:, -1]), strict=True):
            box = bar.get_position(original=True)
            limits = rows[-1].get_position().y0, rows[0].get_position().y1
            assert (box.y0, box.y1) == pytest.approx(limits)
        assert_within_figure(fig)


def simulate(shape, n=1):
    phase = Phase("ni", space_group=225)
    reflectors = ReciprocalLatticeVector(phase, hkl=[[1, 1, 1], [2, 0, 0]]).symmetrise()
    detector = kp.detectors.EBSDDetector(shape=shape, pc=(0.4, 0.6, 0.5))
    rotations = Rotation.from_euler(np.tile([[10, 20, 30]], (n, 1)), degrees=True)
    return kp.simulations.KikuchiPatternSimulator(reflectors).on_detector(detector, rotations)


@pytest.fixture(scope="module")
def simulation():
    return simulate((30, 40))


class TestSimulations:
    def test_lines_and_zone_axes(self, simulation):
        attributions = make(2, shape=(30, 40))
        fig = plot_attributions(attributions, simulations=[None, simulation])
        panels, _ = panels_of(fig, 2)
        assert not any(ax.collections for ax in panels[:, 0])
        expected = simulation.lines_coordinates(0).reshape(-1, 2, 2)
        # They would widen the axes.
        assert expected.min() < -1 and expected.max() > 41
        fig.draw_without_rendering()
        for ax in panels[:, 1]:
            lines, zone_axes = ax.collections
            assert isinstance(lines, LineCollection) and isinstance(zone_axes, PathCollection)
            np.testing.assert_allclose(lines.get_segments(), expected)
            assert len(zone_axes.get_paths()) == len(simulation.zone_axes_coordinates(0))
        for ax in panels.flat:
            assert (ax.get_xlim(), ax.get_ylim()) == ((-0.5, 39.5), (29.5, -0.5))
        over_pattern, *over_values = (ax.collections for ax in panels[:, 1])
        for collections in over_values:
            for strong, weak in zip(over_pattern, collections, strict=True):
                assert weak.get_alpha() < strong.get_alpha() < 1
            assert collections[0].get_linewidth() < over_pattern[0].get_linewidth() < 1

    def test_without(self):
        fig = plot_attributions(make())
        assert not any(ax.collections for ax in panels_of(fig, 3)[0].flat)

    def test_that_do_not_fit(self, simulation):
        attributions = make(2, shape=(30, 40))
        with pytest.raises(ValueError, match="1 simulations of 2 patterns. Give one for each"):
            plot_attributions(attributions, simulations=[simulation])
        several = simulate((30, 40), n=2)
        with pytest.raises(ValueError, match="Simulation 1 is of 2 points"):
            plot_attributions(attributions, simulations=[simulation, several])
        with pytest.raises(
            ValueError, match=r"Simulation 1 is on .* \(30, 40\), but .* \(40, 40\)"
        ):
            plot_attributions(make(2), simulations=[None, simulation])


class TestComparison:
    titles = ("one", "other")

    def other(self, first, **kwargs):
        """What another model says of the same."""
        probabilities = np.array([[0.125, 0.25, 0.625]] * len(first))
        other = make(len(first), shape=first.patterns.shape[1:], seed=5)
        return replace(
            other, **{"explained": first.explained, "probabilities": probabilities, **kwargs}
        )

    def test_panels(self):
        first = make(shape=(30, 40))
        second = self.other(first)
        fig = plot_attribution_comparison(first, second, titles=self.titles)
        panels, bars = panels_of(fig, 3)
        assert panels.shape == (3, 3)
        both = np.stack([one.on_patterns()[:, 0] for one in (first, second)], axis=1)
        norm = panels[0, 1].images[1].norm
        for i, (left, *others) in enumerate(panels):
            (image,) = left.images
            np.testing.assert_array_equal(image.get_array(), first.patterns[i])
            for ax, values in zip(others, both[i], strict=True):
                np.testing.assert_allclose(drawn_values(ax), values)
                assert ax.images[1].norm is norm
        limit = np.percentile(np.abs(both), 99.5)
        assert (norm.vmin, norm.vmax) == pytest.approx((-limit, limit))
        assert [bar.get_ylabel() for bar in bars] == [CONTRIBUTION]
        assert_within_figure(fig)

    def test_texts(self):
        first = make(2)
        fig = plot_attribution_comparison(first, self.other(first), titles=self.titles)
        panels, _ = panels_of(fig, 3)
        assert [[ax.get_title() for ax in row] for row in panels] == [["", *self.titles], [""] * 3]
        primitive, faces, body = (symbol_label(number) for number in CLASSES.labels)
        assert [[ax.get_xlabel() for ax in row] for row in panels] == [
            ["(0, 0)", f"{faces}  0.70\nsays {faces}  0.70", f"{faces}  0.25\nsays {body}  0.62"],
            [
                "(0, 1)",
                f"{primitive}  0.60\nsays {primitive}  0.60",
                f"{primitive}  0.12\nsays {body}  0.62",
            ],
        ]
        fig.draw_without_rendering()
        for upper, lower in zip(panels[0], panels[1], strict=True):
            assert upper.xaxis.label.get_window_extent().y0 > lower.get_window_extent().y1

    def test_each_has_its_mask(self):
        mask = corner_mask()
        first = make(1, signal_mask=mask)
        second = self.other(first)
        fig = plot_attribution_comparison(first, second, titles=self.titles)
        (row,), _ = panels_of(fig, 3)
        assert np.all(drawn_colors(row[1])[mask, 3] == 0)
        assert np.any(drawn_colors(row[2])[mask, 3] > 0)
        assert_within_figure(fig)

    def test_importance(self):
        first = make_importance(1)
        second = self.other(first, values=first.values / 2, expected_logits=None)
        fig = plot_attribution_comparison(first, second, titles=self.titles)
        (row,), (bar,) = panels_of(fig, 3)
        assert [ax.images[1].get_clim() for ax in row[1:]] == [(0, 1)] * 2
        np.testing.assert_allclose(drawn_values(row[2]), drawn_values(row[1]) / 2)
        assert bar.get_ylabel() == "Importance"
        assert_within_figure(fig)

    def test_classes_in_another_order(self):
        first = make(1, 1)
        classes = SpaceGroupClasses((225, 229, 194))
        second = self.other(first, classes=classes, explained=np.array([[0]]))
        fig = plot_attribution_comparison(first, second, titles=self.titles)
        (row,), _ = panels_of(fig, 3)
        assert row[2].get_xlabel() == f"{symbol_label(225)}  0.12\nsays {symbol_label(194)}  0.62"

    def test_what_cannot_be_compared(self):
        first = make()
        with pytest.raises(ValueError, match=r"shape \(3, 40, 40\) and \(2, 40, 40\) are not the"):
            plot_attribution_comparison(first, make(2), titles=self.titles)
        with pytest.raises(ValueError, match=r"\(3, 40, 40\) and \(3, 40, 30\) are not the same"):
            plot_attribution_comparison(first, make(shape=(40, 30)), titles=self.titles)
        patterns = first.patterns.copy()
        patterns[1, 2, 3] ^= 1
        with pytest.raises(ValueError, match="Explain the same patterns by both"):
            other = self.other(first, patterns=patterns)
            plot_attribution_comparison(first, other, titles=self.titles)
        explained = first.explained.copy()
        explained[1, 0] = 2
        with pytest.raises(ValueError, match="Of pattern 1 the first class .* is 221 and 229"):
            other = self.other(first, explained=explained)
            plot_attribution_comparison(first, other, titles=self.titles)
        with pytest.raises(ValueError, match="of DeepSHAP and of Grad-CAM have no scale in common"):
            plot_attribution_comparison(first, make_importance(), titles=self.titles)

    @pytest.mark.parametrize("titles", [("one",), ("a", "b", "c"), "ab"])
    def test_titles_that_do_not_fit(self, titles):
        with pytest.raises(ValueError, match="must be two texts"):
            plot_attribution_comparison(make(1), make(1), titles=titles)

    def test_patterns_that_are_not_finite(self):
        patterns = np.full((1, 40, 40), np.nan)
        first = make(1, patterns=patterns)
        fig = plot_attribution_comparison(
            first, self.other(first, patterns=patterns), titles=self.titles
        )
        assert panels_of(fig, 3)[0].shape == (1, 3)
