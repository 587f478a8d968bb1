import numpy as np
import pytest
from matplotlib.colors import to_rgba

from kikuchipy_cnn import SpaceGroupClasses
from kikuchipy_cnn.crystal_map import probabilities_to_crystal_map
from kikuchipy_cnn.evaluation import reliability
from kikuchipy_cnn.plotting import (
    plot_confidence,
    plot_drift,
    plot_reliability,
    plot_risk_coverage,
    symbol_label,
)
from kikuchipy_cnn.space_groups import space_group_color
from kikuchipy_cnn.uncertainty import RiskCoverage
from kikuchipy_cnn.uncertainty.rejection import RejectReason

GREY = to_rgba("0.7")


def make_map(shape=(3, 4), reasons=None, **kwargs):
    """All points with 0.75 for one class, those with a reason not indexed."""
    n = int(np.prod(shape))
    reasons = np.zeros(n, int) if reasons is None else np.array(reasons)
    probabilities = np.tile([0.75, 0.25], (n, 1))
    xmap = probabilities_to_crystal_map(
        probabilities,
        SpaceGroupClasses((229, 225)),
        navigation_shape=shape,
        step_sizes=(0.5,) * len(shape),
        scan_unit="um",
        indexed=reasons == 0,
        **kwargs,
    )
    xmap.prop["reject_reason"] = reasons
    return xmap


def titles(fig):
    return [ax.get_title() for ax in fig.axes if ax.get_title()]


def texts(legend):
    return [text.get_text() for text in legend.get_texts()]


def drawn_colors(image):
    return image.cmap(image.norm(image.get_array()))


class TestConfidence:
    def test_panels(self):
        fig = plot_confidence(make_map())
        assert titles(fig) == ["Score", "Entropy"]
        assert len(fig.axes) == 4 and not fig.legends
        entropy = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
        for ax, value in zip(fig.axes, (0.75, entropy), strict=False):
            image = ax.images[1]
            assert image.get_clim() == (0, 1)
            np.testing.assert_allclose(image.get_array(), np.full((3, 4), value))
        assert tuple(fig.axes[0].images[0].get_extent()) == (-0.25, 1.75, 1.25, -0.25)
        assert fig.axes[0].artists[0].txt_label.get_text() == "0.5 µm"

    def test_confidence_goes_before_scores(self):
        xmap = make_map()
        xmap.prop["confidence"] = np.arange(12) / 12
        fig = plot_confidence(xmap)
        assert titles(fig) == ["Confidence", "Entropy"]
        assert fig.axes[0].images[1].get_array()[2, 3] == 11 / 12

    def test_reasons(self):
        fig = plot_confidence(make_map(reasons=[0, 1, 2, 3, 4, 4, 0, 0, 0, 0, 0, 0]))
        assert titles(fig) == ["Score", "Entropy", "Rejected"]
        states, reasons = fig.legends
        assert texts(states) == ["not indexed, 41.7%"]
        parts = {0: "58.3%", 1: "8.3%", 2: "8.3%", 3: "8.3%", 4: "16.7%"}
        assert texts(reasons) == [f"{RejectReason(i).meaning}, {parts[i]}" for i in range(5)]
        for ax in fig.axes[:2]:
            beneath, above = ax.images
            assert np.ma.getmaskarray(above.get_array()).ravel().tolist()[:6] == [False] + 5 * [
                True
            ]
            assert np.allclose(drawn_colors(beneath)[0, 1], to_rgba("white"))
        colors = drawn_colors(fig.axes[2].images[0]).reshape(12, 4)
        handles = [to_rgba(patch.get_facecolor()) for patch in reasons.get_patches()]
        assert len(set(handles)) == 5
        np.testing.assert_allclose(colors[:5], handles)
        np.testing.assert_allclose(colors[5:7], [handles[4], handles[0]])

    def test_only_reasons_that_are_there(self):
        fig = plot_confidence(make_map(reasons=[0] * 9 + [2] * 3))
        assert texts(fig.legends[1]) == ["indexed, 75.0%", "no diffraction, 25.0%"]

    def test_without_reasons(self):
        xmap = make_map(reasons=[3] + [0] * 11)
        del xmap.prop["reject_reason"]
        fig = plot_confidence(xmap)
        assert titles(fig) == ["Score", "Entropy"]
        assert texts(fig.legends[0]) == ["not indexed, 8.3%"]

    def test_masked(self):
        xmap = make_map(reasons=[3, 0, 0, 2] + [0] * 8)
        masked = xmap[(np.arange(12) % 4) < 3]
        fig = plot_confidence(masked)
        assert texts(fig.legends[0]) == ["not indexed, 11.1%", "masked"]
        # The last column is cut off, and with it its reason.
        assert texts(fig.legends[1]) == ["indexed, 88.9%", "outside the classes, 11.1%"]
        assert fig.axes[2].images[0].get_array().shape == (3, 3)
        with_hole = plot_confidence(xmap[np.arange(12) != 5])
        beneath, above = with_hole.axes[0].images
        assert np.ma.is_masked(above.get_array()[1, 1])
        np.testing.assert_allclose(drawn_colors(beneath)[1, 1], GREY)
        np.testing.assert_allclose(drawn_colors(beneath)[0, 0], to_rgba("white"))
        np.testing.assert_allclose(drawn_colors(with_hole.axes[2].images[0])[1, 1], GREY)

    @pytest.mark.parametrize(("shape", "axis"), [((12,), "x"), ((1, 12), "x"), ((12, 1), "y")])
    def test_row_or_column_is_drawn_as_strips(self, shape, axis):
        fig = plot_confidence(make_map(shape, [0] * 11 + [4]))
        for ax in fig.axes[:3]:
            assert ax.images[0].get_array().shape == (1, 12)
        assert fig.axes[2].images[0].get_array().ravel().tolist() == [0] * 11 + [4]
        assert fig.axes[2].get_xlabel() == f"{axis} (µm)"
        assert [ax.get_xlabel() for ax in fig.axes[:2]] == ["", ""]

    def test_single_point(self):
        fig = plot_confidence(make_map(()))
        assert fig.axes[0].images[1].get_array().tolist() == [[0.75]]

    @pytest.mark.parametrize("shape", [(3, 4), (30, 4), (2, 6), (12,)])
    def test_nothing_is_drawn_outside_the_figure(self, shape):
        n = int(np.prod(shape))
        xmap = make_map(shape, np.arange(n) % 5)[np.arange(n) != 7]
        fig = plot_confidence(xmap)
        fig.canvas.draw()
        box = fig.get_tightbbox()
        assert box.x0 >= 0 and box.y0 >= 0
        assert box.x1 <= fig.get_size_inches()[0] and box.y1 <= fig.get_size_inches()[1]

    def test_what_cannot_be_drawn(self):
        with pytest.raises(ValueError, match="no points in data"):
            plot_confidence(make_map()[np.zeros(12, bool)])
        with pytest.raises(ValueError, match=r"'reject_reason' has \[7\], .* 2 \(no diffraction\)"):
            plot_confidence(make_map(reasons=[7] + [0] * 11))
        for name in ("scores", "entropy"):
            xmap = make_map()
            del xmap.prop[name]
            with pytest.raises(ValueError, match=f"but not '{name}'"):
                plot_confidence(xmap)


class TestReliability:
    confidence = np.array([0.2, 0.2, 0.8, 0.8, 0.9])
    right = np.array([True, False, True, True, False])

    def bins(self):
        return reliability(self.confidence, self.right, n_bins=3)

    def test_one(self):
        fig = plot_reliability(self.bins())
        upper, lower = fig.axes
        diagonal, points = upper.lines[:2]
        assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
        # The bin in the middle is empty.
        np.testing.assert_allclose(points.get_xydata(), [[0.2, 0.5], [2.5 / 3, 2 / 3]])
        bins = self.bins()
        (bars,) = upper.collections
        limits = [segment[:, 1].tolist() for segment in bars.get_segments()]
        np.testing.assert_allclose(limits, np.transpose([bins.low, bins.high])[[0, 2]])
        values, edges, _ = lower.patches[0].get_data()
        assert (values.tolist(), edges.tolist()) == ([2, 0, 3], bins.edges.tolist())
        assert texts(upper.get_legend()) == [f"calibration error {bins.error:.3f}"]

    def test_several(self):
        fig = plot_reliability({225: self.bins(), "other": self.bins()})
        upper, lower = fig.axes
        labels = texts(upper.get_legend())
        assert [label.split(",")[0] for label in labels] == [symbol_label(225), "other"]
        assert len(lower.patches) == 2
        assert upper.lines[1].get_color() == space_group_color(225)

    def test_many_are_drawn_without_what_few_patterns_say(self):
        confidence = np.repeat([0.1, 0.9], [9, 10])
        curve = reliability(confidence, np.ones(19, bool))
        upper = plot_reliability({str(i): curve for i in range(5)}).axes[0]
        assert not upper.collections
        np.testing.assert_allclose(
            [line.get_xydata() for line in upper.lines[1:]], [[[0.9, 1]]] * 5
        )
        few = plot_reliability({str(i): curve for i in range(4)}).axes[0]
        assert len(few.collections) == 4

    def test_none(self):
        with pytest.raises(ValueError, match="no curves to draw"):
            plot_reliability({})


class TestRiskCoverage:
    @pytest.fixture
    def curve(self):
        wrong = np.arange(1000) >= 900
        return RiskCoverage.from_scores(1 - np.arange(1000) / 1000, wrong)

    def test_curve(self, curve):
        ax = plot_risk_coverage(curve).axes[0]
        (line,) = ax.lines
        np.testing.assert_allclose(line.get_xydata(), np.transpose([curve.coverage, curve.risk]))
        assert texts(ax.get_legend()) == [f"area {curve.area():.4f}"]
        assert ax.get_ylim()[0] == 0 and 0.1 < ax.get_ylim()[1] < 0.2
        band = ax.collections[0].get_paths()[0].vertices
        assert band[:, 1].max() == pytest.approx(curve.upper_risk.max())

    def test_chosen_risk(self, curve):
        hopeless = RiskCoverage.from_scores(np.ones(10), np.ones(10, bool))
        ax = plot_risk_coverage({"good": curve, "hopeless": hopeless}, risk=0.05).axes[0]
        points = [line for line in ax.lines if line.get_marker() == "o"]
        expected = curve.at(curve.threshold_for_risk(0.05))
        np.testing.assert_allclose(np.concatenate([p.get_xydata() for p in points]), [expected])
        assert texts(ax.get_legend()) == [
            f"good, area {curve.area():.4f}, {expected[0]:.1%} answered",
            "hopeless, area 1.0000",
            "chosen risk 5.0%",
        ]

    def test_what_cannot_be_drawn(self, curve):
        with pytest.raises(ValueError, match="no curves to draw"):
            plot_risk_coverage({})
        with pytest.raises(ValueError, match="risk=5 must be from 0 to 1"):
            plot_risk_coverage(curve, risk=5)


class TestDrift:
    def test_bars(self):
        rows = [
            {"drift": "noise", "before": 0.5, "after": (0.7, 0.6, 0.75)},
            {"drift": "tilt", "after": [0.9, 0.8, 0.95], "before": 0.25},
        ]
        ax = plot_drift(rows).axes[0]
        before, after = ax.patches[:2], ax.patches[2:]
        assert [bar.get_height() for bar in before] == [0.5, 0.25]
        assert [bar.get_height() for bar in after] == [0.7, 0.9]
        # Beside each other, and together in the middle.
        for place, (one, other) in enumerate(zip(before, after, strict=True)):
            assert one.get_x() + one.get_width() <= other.get_x()
            middle = (one.get_x() + other.get_x() + other.get_width()) / 2
            assert middle == pytest.approx(place)
        assert [text.get_text() for text in ax.get_xticklabels()] == ["noise", "tilt"]
        assert texts(ax.get_legend()) == ["before", "after"]
        # Values without an interval have no bar of error.
        segments = [i for bars in ax.collections for i in bars.get_segments() if len(i)]
        limits = [segment[:, 1] for segment in segments]
        np.testing.assert_allclose(limits, [[0.6, 0.75], [0.8, 0.95]])

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([], "must be a row with 'drift' and one method"),
            ([{"drift": "noise"}], "must be a row with 'drift' and one method"),
            ([{"drift": "noise", "a": 1}, {"drift": "tilt", "b": 1}], "A row has drift, b, but"),
            ([{"a": 1}], "all must have drift, a"),
        ],
    )
    def test_what_cannot_be_drawn(self, rows, message):
        with pytest.raises(ValueError, match=message):
            plot_drift(rows)
