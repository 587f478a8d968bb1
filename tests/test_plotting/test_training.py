from dataclasses import replace

import numpy as np
import pytest

from kikuchipy_cnn.evaluation import ShotsCurve
from kikuchipy_cnn.plotting import plot_shots_curve, plot_training_curves


def test_shots():
    accuracies = np.array([[0.4, 0.4, 0.4], [0.5, 0.6, 0.7]])
    curve = ShotsCurve((0, 10), accuracies, "phase", 0.25)
    fig = plot_shots_curve({"transfer": curve, "scratch": replace(curve, shots=(1, 10))})
    ax = fig.axes[0]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "1", "10"]
    x = ax.transData.transform([(i, 0.5) for i in (0, 1, 10)])[:, 0]
    assert x[0] < x[1] < x[2] and ax.bbox.x0 < x[0]
    line = ax.lines[0]
    np.testing.assert_allclose(line.get_xydata(), [[0, 0.4], [10, 0.6]])
    assert ax.get_xlabel() == "Training patterns of each phase"
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["chance", "transfer", "scratch"]
    assert len(plot_shots_curve(curve).axes[0].get_legend().get_texts()) == 2


def test_training():
    def history(losses):
        return [
            {
                **{"epoch": i + 1, "loss": loss, "val_loss": 2 * loss},
                **{"accuracy": 0.5, "val_accuracy": 0.25},
            }
            for i, loss in enumerate(losses)
        ]

    trials = [history([3, 2, 1]), history([5])]
    fig = plot_training_curves({"transfer": trials, "scratch": [history([1])]})
    loss, accuracy = fig.axes
    training, validation = loss.lines[:2]
    # Only the first trial goes on.
    assert training.get_xydata().tolist() == [[1, 4], [2, 2], [3, 1]]
    assert validation.get_ydata().tolist() == [8, 4, 2]
    assert training.get_linestyle() == "--" and validation.get_linestyle() == "-"
    band = loss.collections[0].get_paths()[0].vertices
    # Deviations of the sample: that of 3 and 5, and none of one trial.
    assert np.abs(band[band[:, 0] == 1, 1] - 4).max() == pytest.approx(np.sqrt(2))
    assert set(band[band[:, 0] == 2, 1]) == {2}
    assert len(loss.collections) == 2
    assert accuracy.lines[1].get_ydata().tolist() == [0.25] * 3
    texts = [text.get_text() for text in fig.legends[0].get_texts()]
    assert texts == ["training", "validation", "transfer", "scratch"]
    assert len(plot_training_curves(trials).legends[0].get_texts()) == 2
    for nothing in ([], {}, [[]], {"x": []}):
        with pytest.raises(ValueError, match="at least one"):
            plot_training_curves(nothing)


def test_no_shots_curve():
    with pytest.raises(ValueError, match="no curves to draw"):
        plot_shots_curve({})
