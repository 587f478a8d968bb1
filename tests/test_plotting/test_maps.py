import dask.array as da
import kikuchipy as kp
import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb, to_rgba
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation

from kikuchipy_cnn.crystal_map import probabilities_to_crystal_map
from kikuchipy_cnn.label_classes import LabelClasses
from kikuchipy_cnn.plotting import plot_patterns, plot_space_groups, symbol_label
from kikuchipy_cnn.space_groups import SpaceGroupClasses, space_group_color

CLASSES = SpaceGroupClasses((229, 225, 194))
LABELS = LabelClasses(("Ni", "Ni3Al", "m-3m"), (225, 225, None))
WINNERS = np.array([229, 229, 225, 229, 225, 225, 229, 225, 229, 225, 229, 229])


def make(shape=(3, 4), n=12, classes=CLASSES, **kwargs):
    probabilities = np.full((n, 3), 0.125)
    probabilities[np.arange(n), [CLASSES.index(i) for i in WINNERS[:n]]] = 0.75
    kwargs = {"step_sizes": (0.5,) * len(shape), "scan_unit": "um", **kwargs}
    return probabilities_to_crystal_map(probabilities, classes, navigation_shape=shape, **kwargs)


def legend_texts(fig):
    return [i.get_text() for i in fig.legends[0].get_texts()]


def drawn_colors(image):
    return image.cmap(image.norm(image.get_array()))


def test_map_legend_and_colors():
    indexed = np.arange(11) != 1
    is_in_data = np.ones((3, 4), dtype=bool)
    is_in_data[1, 1] = False
    xmap = make(n=11, indexed=indexed, is_in_data=is_in_data)
    fig = plot_space_groups(xmap)
    assert legend_texts(fig) == [
        r"$Fm\overline{3}m$ (225), 45.5%",
        r"$Im\overline{3}m$ (229), 45.5%",
        "not indexed, 9.1%",
        "masked",
    ]
    assert [i.get_title() for i in fig.axes[:2]] == ["Space group", "Score"]
    colors = drawn_colors(fig.axes[0].images[0])
    assert np.allclose(colors[0, 0], to_rgba(space_group_color(229)))
    assert np.allclose(colors[0, 1], to_rgba("white"))
    assert np.allclose(colors[0, 2], to_rgba(space_group_color(225)))
    assert np.allclose(colors[1, 1], to_rgba("0.7"))
    for handle, color in zip(fig.legends[0].get_patches(), (225, 229), strict=False):
        assert to_rgb(handle.get_facecolor()) == to_rgb(space_group_color(color))


def test_map_of_scores():
    xmap = make(indexed=np.arange(12) != 1)
    below, scores = plot_space_groups(xmap).axes[1].images
    assert scores.get_clim() == (0, 1)
    values = scores.get_array()
    assert np.ma.is_masked(values[0, 1])
    assert np.allclose(values.compressed(), 0.75)
    assert np.allclose(drawn_colors(below)[0, 1], to_rgba("white"))


def test_map_extent_and_scale_bar():
    xmap = make(step_sizes=(1, 2))
    ax = plot_space_groups(xmap).axes[0]
    assert tuple(ax.images[0].get_extent()) == (-1, 7, 2.5, -0.5)
    assert ax.artists[0].txt_label.get_text() == "2 µm"


def test_classes_without_points_are_listed_in_the_order_of_the_model():
    assert legend_texts(plot_space_groups(make(), CLASSES)) == [
        r"$Im\overline{3}m$ (229), 58.3%",
        r"$Fm\overline{3}m$ (225), 41.7%",
        r"$P6_{3}/mmc$ (194), 0.0%",
    ]


@pytest.mark.parametrize(("shape", "axis"), [((12,), "x"), ((1, 12), "x"), ((12, 1), "y")])
def test_row_or_column_is_drawn_as_strips(shape, axis):
    fig = plot_space_groups(make(shape))
    image = fig.axes[0].images[0]
    assert image.get_array().shape == (1, 12)
    assert image.get_array().ravel().tolist() == WINNERS.tolist()
    assert tuple(image.get_extent())[:2] == (-0.25, 5.75)
    assert fig.axes[1].get_xlabel() == f"{axis} (µm)"


def test_single_point():
    fig = plot_space_groups(make((), 1))
    assert fig.axes[0].images[0].get_array().tolist() == [[229]]


def test_sliced_map_is_cropped():
    fig = plot_space_groups(make()[1:, 1:3])
    assert fig.axes[0].images[0].get_array().tolist() == [[225, 229], [225, 229]]
    assert legend_texts(fig)[0] == r"$Fm\overline{3}m$ (225), 50.0%"


def test_three_points():
    # orix takes three values for a color
    fig = plot_space_groups(make((1, 12))[:3])
    assert fig.axes[0].images[0].get_array().tolist() == [[229, 229, 225]]


@pytest.mark.parametrize("shape", [(3, 4), (12,)])
def test_nothing_is_drawn_outside_the_figure(shape):
    fig = plot_space_groups(make(shape), SpaceGroupClasses((*CLASSES, *range(1, 8))))
    fig.canvas.draw()
    box = fig.get_tightbbox()
    assert box.x0 >= 0 and box.y0 >= 0
    assert box.x1 <= fig.get_size_inches()[0] and box.y1 <= fig.get_size_inches()[1]


def test_map_without_scores():
    xmap = make()
    del xmap.prop["scores"]
    with pytest.raises(ValueError, match="but not 'scores'"):
        plot_space_groups(xmap)


def test_map_with_other_phases():
    with pytest.raises(ValueError, match=r"phase IDs \[229\]"):
        plot_space_groups(make(), SpaceGroupClasses((225, 194)))
    with pytest.raises(ValueError, match="is 'Ni', but 'Cu'"):
        plot_space_groups(make(classes=LABELS), LabelClasses(("Cu", "Ni3Al", "m-3m")))


def test_map_of_labels():
    xmap = make(classes=LABELS)
    fig = plot_space_groups(xmap, LABELS)
    assert legend_texts(fig) == ["Ni, 58.3%", "Ni3Al, 41.7%", "m-3m, 0.0%"]
    assert [i.get_title() for i in fig.axes[:2]] == ["Class", "Score"]
    assert fig.axes[2].get_xlabel() == "Probability of the class"
    handles = [to_rgba(i.get_facecolor()) for i in fig.legends[0].get_patches()]
    assert handles == [to_rgba(i) for i in LABELS.colors]
    # Space groups are shared, colors are not
    assert len(set(handles)) == 3
    drawn = drawn_colors(fig.axes[0].images[0])
    assert np.allclose(drawn[0, 0], handles[0])
    assert np.allclose(drawn[0, 2], handles[1])

    without_classes = plot_space_groups(xmap)
    assert legend_texts(without_classes) == ["Ni, 58.3%", "Ni3Al, 41.7%"]
    assert np.array_equal(drawn_colors(without_classes.axes[0].images[0]), drawn)


def test_map_of_more_labels_than_there_are_space_groups():
    classes = LabelClasses([f"phase {i:03d}" for i in range(300)])
    probabilities = np.eye(300)[[0, 298, 299, 231]]
    xmap = probabilities_to_crystal_map(probabilities, classes, navigation_shape=(2, 2))
    fig = plot_space_groups(xmap)
    drawn = drawn_colors(fig.axes[0].images[0]).reshape(4, 4)
    expected = [to_rgba(classes.colors[i]) for i in (0, 298, 299, 231)]
    assert np.allclose(drawn, expected)
    # Nothing is masked beneath the scores
    assert np.allclose(drawn_colors(fig.axes[1].images[0]), 1)


def test_map_of_phases_from_elsewhere():
    xmap = CrystalMap(
        Rotation.identity((6,)),
        phase_id=np.array([0, 0, 2, -1, 229, 229]),
        phase_list=PhaseList(
            {
                0: Phase("nickel", space_group=225, color="red"),
                2: Phase("P-1", space_group=2, color="lime"),
                229: Phase("ferrite", space_group=229, color="blue"),
            }
        ),
        prop={"scores": np.full(6, 0.5)},
    )
    fig = plot_space_groups(xmap)
    assert legend_texts(fig)[:3] == [
        "nickel, 33.3%",
        r"$P\overline{1}$ (2), 16.7%",
        "ferrite, 33.3%",
    ]
    assert fig.axes[0].get_title() == "Class"
    drawn = drawn_colors(fig.axes[0].images[0])[0]
    assert np.allclose(drawn[[0, 2, 3, 4]], [to_rgba(i) for i in ("red", "lime", "white", "blue")])


def test_map_without_indexed_points():
    fig = plot_space_groups(make(indexed=np.zeros(12, dtype=bool)))
    assert legend_texts(fig) == ["not indexed, 100.0%"]


def test_map_without_points():
    with pytest.raises(ValueError, match="no points in data"):
        plot_space_groups(make()[np.zeros(12, dtype=bool)])


@pytest.fixture
def signal():
    patterns = np.arange(12 * 5 * 6, dtype=np.uint16).reshape(3, 4, 5, 6)
    return kp.signals.EBSD(patterns)


def titles(fig):
    return [i.get_title() for i in fig.axes if i.get_title()]


def test_patterns(signal):
    fig = plot_patterns(signal, make(), n=4)
    bcc, fcc = r"$Im\overline{3}m$  0.75", r"$Fm\overline{3}m$  0.75"
    assert titles(fig) == [bcc, fcc, fcc, bcc]
    images = [i.images[0].get_array() for i in fig.axes if i.images]
    flat = signal.data.reshape(12, 5, 6)
    assert all(np.array_equal(i, flat[j]) for i, j in zip(images, (0, 4, 7, 11), strict=False))
    assert legend_texts(fig) == [symbol_label(i) for i in (194, 225, 229)]


def test_patterns_of_labels(signal):
    fig = plot_patterns(signal, make(classes=LABELS), n=4)
    assert titles(fig) == ["Ni  0.75", "Ni3Al  0.75", "Ni3Al  0.75", "Ni  0.75"]
    assert legend_texts(fig) == list(LABELS.names)
    bars = [i for ax in fig.axes for i in ax.patches][:3]
    assert [i.get_width() for i in bars] == [0.75, 0.125, 0.125]
    assert [i.get_facecolor() for i in bars] == [to_rgba(i) for i in LABELS.colors]


def test_chosen_patterns(signal):
    indexed = np.arange(11) != 2
    is_in_data = np.arange(12) != 5
    xmap = make(n=11, indexed=indexed, is_in_data=is_in_data)
    fig = plot_patterns(signal, xmap, indices=[2, 5, 6])
    assert titles(fig) == ["not indexed", "masked", r"$Fm\overline{3}m$  0.75"]
    images = [i.images[0].get_array() for i in fig.axes if i.images]
    assert np.array_equal(images[2], signal.data[1, 2])


def test_bars_of_probabilities(signal):
    fig = plot_patterns(signal, make(), indices=[0])
    bars = [i for ax in fig.axes for i in ax.patches]
    assert [i.get_width() for i in bars] == [0.125, 0.125, 0.75]
    assert [i.get_x() for i in bars] == [0, 0.125, 0.25]
    expected = [to_rgba(space_group_color(i)) for i in (194, 225, 229)]
    assert [i.get_facecolor() for i in bars] == expected


def test_lazy_patterns_are_computed_one_by_one(signal):
    computed = []

    def read(block, block_info=None):
        computed.append(block_info[0]["chunk-location"][:2])
        return block

    lazy = signal.as_lazy()
    lazy.data = da.from_array(signal.data, chunks=(1, 1, 5, 6)).map_blocks(
        read, dtype=np.uint16, meta=np.array((), dtype=np.uint16)
    )
    fig = plot_patterns(lazy, make(), indices=[3, 8])
    assert sorted(computed) == [(0, 3), (2, 0)]
    assert len(titles(fig)) == 2


def test_single_pattern(signal):
    fig = plot_patterns(signal.inav[0, 0], make((), 1))
    assert titles(fig) == [r"$Im\overline{3}m$  0.75"]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n": 0}, "no patterns to draw with n=0"),
        ({"indices": []}, r"no patterns to draw with n=9 and indices=\[\]"),
        ({"indices": [0, 12, -1]}, r"Indices \[12, -1\] must be in 0-11"),
    ],
)
def test_nothing_to_draw(signal, kwargs, message):
    with pytest.raises(ValueError, match=message):
        plot_patterns(signal, make(), **kwargs)


def test_patterns_of_another_map(signal):
    with pytest.raises(ValueError, match=r"navigation shape \(2, 4\), but .* 12 points"):
        plot_patterns(signal.inav[:, :2], make())


def test_pyplot_is_left_alone():
    # kikuchipy imports pyplot itself, so what is seen is whether it holds a figure
    plot_space_groups(make())
    assert matplotlib._pylab_helpers.Gcf.figs == {}
