import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from orix.quaternion import Rotation

from kikuchipy_cnn import SpaceGroupClasses
from kikuchipy_cnn.evaluation import Evaluation, wilson_interval
from kikuchipy_cnn.plotting import (
    plot_accuracy_by_atomic_number,
    plot_confusion,
    plot_orientations,
    plot_quality,
    plot_scores,
    symbol_label,
)
from kikuchipy_cnn.space_groups import space_group_color


def titles(fig):
    return [ax.get_title() for ax in fig.axes if ax.get_title()]


def tick_labels(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def test_scores(make):
    fig = plot_scores(make())
    upper, lower = fig.axes
    symbols = [symbol_label(i) for i in make.classes]
    assert tick_labels(upper.xaxis) == symbols
    heights = [bar.get_height() for bar in upper.patches]
    assert heights == pytest.approx([2 / 3, 3 / 4, 2 / 3, 1 / 2, 3 / 4, 1, 4 / 7, 3 / 4, 4 / 5])
    assert [bar.get_height() for bar in lower.patches] == [0.5, 0.5, 0.75, 1]
    assert lower.patches[2].get_facecolor() == to_rgba(space_group_color(225))
    assert tick_labels(lower.xaxis) == ["FeAl", "Ni3Al", "Ni", "Fe-bcc"]
    chance = next(line for line in lower.lines if line.get_linestyle() == "--")
    assert list(chance.get_ydata()) == pytest.approx([1 / 3] * 2)
    (bars,) = [c for c in lower.collections if len(c.get_segments()) == 4]
    assert bars.get_segments()[2][:, 1] == pytest.approx(wilson_interval(3, 4))
    texts = [text.get_text() for text in lower.get_legend().get_texts()]
    assert texts == [*symbols, "chance"]


def test_confusion(make):
    evaluation = make([221, 229, None, 225], [221, 194, 225, 225], ["FeAl", "Mg", "Ni", "Ni"])
    ax = plot_confusion(evaluation).axes[0]
    assert tick_labels(ax.xaxis) == [*map(symbol_label, make.classes), "none"]
    assert tick_labels(ax.yaxis) == list(map(symbol_label, (221, 225, 229, 194)))
    assert [text.get_text() for text in ax.texts] == list("1000010100000010")
    # No frame for what is no class.
    assert [patch.get_xy() for patch in ax.patches] == [(i - 0.5, i - 0.5) for i in range(3)]
    parts = ax.images[0].get_array()
    assert parts[1].tolist() == [0, 0.5, 0, 0.5]
    assert parts[2].tolist() == [0, 0, 0, 0]


def test_confusion_by_material(make):
    ax = plot_confusion(make(), by="material").axes[0]
    assert tick_labels(ax.yaxis)[1] == f"Ni3Al, {symbol_label(221)}"
    assert [text.get_text() for text in ax.texts] == list("101110130002")
    places = [(0, 0), (0, 1), (1, 2), (2, 3)]
    assert [patch.get_xy() for patch in ax.patches] == [(j - 0.5, i - 0.5) for j, i in places]
    with pytest.raises(ValueError, match="by='map'"):
        plot_confusion(make(), by="map")


def test_large_confusion_has_no_numbers(label):
    numbers = tuple(range(1, 41))
    patterns = label(numbers, ["x"] * 40)
    large = Evaluation(patterns, SpaceGroupClasses(numbers), "space group", np.eye(40))
    ax = plot_confusion(large).axes[0]
    assert len(ax.texts) == 0
    assert np.array_equal(ax.images[0].get_array(), np.eye(40))


def test_atomic_numbers(make):
    fig = plot_accuracy_by_atomic_number(make(), ["Ni", (221, "FeAl"), (225, "Ni3Al")])
    panels = fig.axes[:3]
    assert titles(fig) == [f"{symbol_label(i)} ({i})" for i in make.classes]
    points = [
        [
            (*(float(i[0]) for i in line.get_data()), line.get_markerfacecolor())
            for line in ax.lines
            if line.get_marker() == "o"
        ]
        for ax in panels
    ]
    assert points == [
        [(19.5, 0.5, space_group_color(221)), (24.25, 0.5, "white")],
        [(28.0, 0.75, space_group_color(225))],
        [(26.0, 1.0, "white")],
    ]
    assert sorted(text.get_text() for text in panels[0].texts) == ["FeAl", "Ni3Al"]
    assert [i.get_text() for i in fig.legends[0].get_texts()] == ["chance", "trained on", "new"]


def test_materials_that_the_model_names(make):
    fig = plot_accuracy_by_atomic_number(make(trained_materials=frozenset({(225, "Ni")})))
    faces = [
        line.get_markerfacecolor()
        for ax in fig.axes
        for line in ax.lines
        if line.get_marker() == "o"
    ]
    assert faces.count("white") == 3


def test_names_do_not_cover_each_other(make):
    names = ["FeAl", "NiAl", "CoAl", "Ni3Al", "FeNi3"]
    evaluation = make([221] * 5, [221] * 5, names)
    fig = plot_accuracy_by_atomic_number(evaluation)
    fig.canvas.draw()
    texts = fig.axes[0].texts
    boxes = [text.get_window_extent() for text in texts]
    assert sorted(text.get_text() for text in texts) == sorted(names)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_no_atomic_numbers(make):
    evaluation = make([221, 225], [221, 225], ["alpha", "beta"])
    with pytest.raises(ValueError, match="alpha, beta"):
        plot_accuracy_by_atomic_number(evaluation)
    fig = plot_accuracy_by_atomic_number(evaluation, atomic_numbers={"beta": 20})
    assert titles(fig) == [f"{symbol_label(225)} (225)"]


def test_orientations(make):
    rotation = Rotation.random(10).data
    rotation[0] = np.nan
    evaluation = make(true=[194, *make.true[1:8], 194, 194], rotation=rotation)
    fig = plot_orientations(evaluation)
    assert titles(fig) == [
        *("6/mmm, right (0)", "6/mmm, wrong (2)", "m-3m, right (4)", "m-3m, wrong (3)"),
    ]
    numbers = [sum(len(c.get_offsets()) for c in ax.collections) for ax in fig.axes]
    assert numbers == [0, 2, 4, 3]
    with pytest.raises(ValueError, match="No orientation"):
        plot_orientations(make())


def test_many_orientations(make, monkeypatch):
    monkeypatch.setattr("kikuchipy_cnn.plotting.evaluation._MOST_POINTS", 5)
    fig = plot_orientations(make(rotation=Rotation.random(10).data))
    assert titles(fig) == ["m-3m, right (7)", "m-3m, wrong (3)"]
    numbers = [sum(len(c.get_offsets()) for c in ax.collections) for ax in fig.axes]
    assert numbers == [5, 3]


def test_quality(make):
    fig = plot_quality(make(quality=np.array([5, 1, 6, 2, 7, 8, 1.5, 9, 3, 4], float)))
    ax = fig.axes[0]
    medians = [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--"]
    assert medians == [5, 2]
    assert sorted(text.get_text() for text in ax.get_legend().get_texts()) == [
        *("right (7)", "wrong (3)"),
    ]
    assert titles(fig) == ["A right pattern has the higher quality in 62% of pairs"]


def test_quality_if_all_are_right(make):
    fig = plot_quality(make(make.true, quality=np.arange(10.0)))
    assert titles(fig) == []
    assert [i.get_text() for i in fig.axes[0].get_legend().get_texts()] == ["right (10)"]


def test_pyplot_is_left_alone(make):
    found = make(rotation=Rotation.random(10).data, quality=np.arange(10.0))
    for plot in (plot_scores, plot_confusion, plot_orientations, plot_quality):
        plot(found)
    assert matplotlib._pylab_helpers.Gcf.figs == {}
