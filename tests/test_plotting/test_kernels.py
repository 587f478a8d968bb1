import numpy as np
import pytest

from kikuchipy_cnn.explanation.kernels import KernelPair
from kikuchipy_cnn.plotting.kernels import plot_feature_maps, plot_kernels
from kikuchipy_cnn.plotting.symbols import symbol_label


def make_pairs(n=3):
    """Pairs whose kernels have two channels, the last one with the negative of the second."""
    rng = np.random.default_rng(1)
    kernels = rng.normal(size=(n, 2, 3, 3, 2))
    signs = [1] * (n - 1) + [-1]
    return [
        KernelPair(i, 10 + i, 0.25 * i, *of_pair, sign=sign)
        for i, (of_pair, sign) in enumerate(zip(kernels, signs, strict=True))
    ]


class TestKernels:
    def test_layout(self):
        pairs = make_pairs()
        fig = plot_kernels(pairs, titles=("scratch", "transfer"))
        upper, lower = np.reshape(fig.axes[:6], (2, 3))
        assert len(fig.axes) == 7
        assert [ax.get_title() for ax in upper] == [f"distance {0.25 * i:.3f}" for i in range(3)]
        assert [ax.get_xlabel() for ax in upper] == ["kernel 0", "kernel 1", "kernel 2"]
        assert [ax.get_xlabel() for ax in lower] == ["kernel 10", "kernel 11", "−1 × kernel 12"]
        assert [ax.get_ylabel() for ax in (upper[0], lower[0])] == ["scratch", "transfer"]
        for pair, column in zip(pairs, zip(upper, lower, strict=True), strict=True):
            for kernel, ax in zip((pair.kernel_a, pair.kernel_b), column, strict=True):
                np.testing.assert_array_equal(ax.images[0].get_array(), kernel.sum(axis=-1))

    def test_all_have_the_same_symmetric_limits(self):
        pairs = make_pairs()
        largest = max(
            np.abs(kernel.sum(axis=-1)).max()
            for pair in pairs
            for kernel in (pair.kernel_a, pair.kernel_b)
        )
        for ax in plot_kernels(pairs).axes[:6]:
            assert ax.images[0].get_clim() == (-largest, largest)

    @pytest.mark.filterwarnings("error")
    def test_single_pair_of_zeros(self):
        zeros = np.zeros((3, 3, 1))
        fig = plot_kernels([KernelPair(0, 0, np.inf, zeros, zeros)])
        fig.draw_without_rendering()
        assert fig.axes[0].images[0].get_clim() == (-1, 1)
        assert fig.axes[0].get_title() == "distance inf"

    def test_wrong_arguments(self):
        with pytest.raises(ValueError, match="no pairs of kernels"):
            plot_kernels([])
        with pytest.raises(ValueError, match=r"titles=\('one',\), but .* each of the 2 models"):
            plot_kernels(make_pairs(), titles=("one",))


class TestFeatureMaps:
    @pytest.fixture
    def patterns(self, rng):
        return rng.integers(0, 256, (2, 30, 40)).astype(np.uint8)

    @pytest.fixture
    def maps(self, rng):
        return rng.normal(size=(2, 3, 8, 8)).astype(np.float32)

    def test_layout(self, patterns, maps):
        fig = plot_feature_maps(patterns, maps, kernels=(5, 2, 9), row_labels=(225, "other"))
        axes = np.reshape(fig.axes, (2, 4))
        heads = ["pattern", "kernel 5", "kernel 2", "kernel 9"]
        assert [ax.get_title() for ax in axes[0]] == heads
        assert not any(ax.get_title() for ax in axes[1])
        assert [ax.get_ylabel() for ax in axes[:, 0]] == [symbol_label(225), "other"]
        for row, pattern, of_pattern in zip(axes, patterns, maps, strict=True):
            for ax, image in zip(row, (pattern, *of_pattern), strict=True):
                (drawn,) = ax.images
                np.testing.assert_array_equal(drawn.get_array(), image)
                np.testing.assert_allclose(drawn.get_clim(), np.percentile(image, (0.5, 99.5)))

    def test_single_pattern(self, patterns, maps):
        fig = plot_feature_maps(patterns[0], maps[:1])
        assert [ax.get_title() for ax in fig.axes[1:]] == ["kernel 0", "kernel 1", "kernel 2"]
        assert not fig.axes[0].get_ylabel()

    @pytest.mark.filterwarnings("error")
    def test_images_are_equally_high(self, patterns, maps):
        fig = plot_feature_maps(patterns, maps, row_labels=(225, 229))
        fig.draw_without_rendering()
        boxes = [ax.get_window_extent() for ax in fig.axes]
        assert np.ptp([box.height for box in boxes]) < 0.02 * boxes[0].height
        assert boxes[0].width == pytest.approx(boxes[0].height * 40 / 30, rel=0.02)

    @pytest.mark.parametrize(("n", "kernels", "labels"), [(2, 3, (225, 229)), (1, 16, None)])
    def test_nothing_is_drawn_outside_the_figure(self, patterns, n, kernels, labels):
        maps = np.zeros((n, kernels, 8, 8))
        fig = plot_feature_maps(patterns[:n], maps, row_labels=labels)
        fig.draw_without_rendering()
        box = fig.get_tightbbox()
        assert box.x0 >= 0 and box.y0 >= 0
        assert box.x1 <= fig.get_size_inches()[0] and box.y1 <= fig.get_size_inches()[1]

    @pytest.mark.parametrize("shape", [(3, 3, 8, 8), (2, 8, 8), (2, 0, 8, 8)])
    def test_maps_of_other_patterns(self, patterns, shape):
        with pytest.raises(ValueError, match="do not fit together"):
            plot_feature_maps(patterns, np.zeros(shape))

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"kernels": [1, 2]}, r"kernels=\[1, 2\], but there are maps of 3 kernel"),
            ({"row_labels": [225]}, r"row_labels=\[225\], but there are 2 pattern"),
        ],
    )
    def test_wrong_labels(self, patterns, maps, options, match):
        with pytest.raises(ValueError, match=match):
            plot_feature_maps(patterns, maps, **options)
