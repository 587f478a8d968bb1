from matplotlib.mathtext import MathTextParser

from kikuchipy_cnn.plotting import symbol_label


def test_symbol_labels():
    expected = {
        1: "$P1$",
        14: "$P2_{1}/c$",
        19: "$P2_{1}2_{1}2_{1}$",
        94: "$P4_{2}2_{1}2$",
        113: r"$P\overline{4}2_{1}m$",
        149: "$P312$",
        152: "$P3_{1}21$",
        166: r"$R\overline{3}m$",
        194: "$P6_{3}/mmc$",
        208: "$P4_{2}32$",
        225: r"$Fm\overline{3}m$",
        227: r"$Fd\overline{3}m$",
    }
    assert {i: symbol_label(i) for i in expected} == expected


def test_all_symbol_labels_can_be_drawn():
    parser = MathTextParser("path")
    for number in range(1, 231):
        assert parser.parse(symbol_label(number)).width > 0
