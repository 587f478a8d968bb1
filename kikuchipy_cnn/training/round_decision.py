# SPDX-License-Identifier: GPL-3.0-or-later

"""When self-labels can be learned from, and which rounds are kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kikuchipy_cnn.training.iterative_settings import IterativeSettings
from kikuchipy_cnn.training.self_labelling import total_variation

START, KEPT = "start", "kept"

# Part of its first share below which a class counts as gone.
_GONE = 0.1


def refusal(
    classes: Sequence[int | str],
    n_agreed: int,
    n: int,
    settings: IterativeSettings,
    has_known: bool,
) -> tuple[str, str] | None:
    """Tell why there is nothing to learn from self-labels.

    Parameters
    ----------
    classes
        Label of the class of each self-label.
    n_agreed
        Number of patterns that all members agree on and are sure of.
    n
        Number of patterns that could have been labelled.
    settings
        Limits.
    has_known
        Whether there are known labels too.

    Returns
    -------
    refusal
        Decision and its reason, or None.
    """
    if len(classes) == 0 or n_agreed < settings.least_share * n:
        return "too_few", (
            f"All members agree on {n_agreed} of {n} patterns ({n_agreed / n:.1%}) with a "
            f"confidence of at least {settings.confidence}, which gives {len(classes)} self-labels;"
            f" least_share={settings.least_share}, and least={settings.least} patterns of a class, "
            "are needed. These patterns are too far from what the models know."
        )
    if len(set(classes)) == 1 and not has_known:
        return "one_class", (
            f"All {len(classes)} self-labels are of {classes[0]}. What nothing but this class "
            "shows of the new conditions would be taken for its mark."
        )
    return None


def compared(row: dict, rows: Sequence[dict], labels: Sequence[int | str]) -> dict:
    """Compare a round with those before.

    Parameters
    ----------
    row
        What was measured in it.
    rows
        All rounds before.
    labels
        Labels of the classes.

    Returns
    -------
    columns
        Gain, of the known accuracy where it was measured and of the agreement otherwise, and shift
        of the predicted classes.
    """
    if row["known_accuracy"] is None:
        gain = row["agreement"] - row["agreement_before"]
    else:
        gain = row["known_accuracy"] - rows[-1]["known_accuracy"]
    own, before, first = (_predicted(i, labels) for i in (row, rows[-1], rows[0]))
    return {
        "gain": gain,
        "shift_before": total_variation(own, before),
        "shift_first": total_variation(own, first),
    }


def decide(
    row: dict, rows: Sequence[dict], labels: Sequence[int | str], settings: IterativeSettings
) -> tuple[str, str]:
    """Tell what becomes of a round.

    Signs of collapse come before any gain.

    Parameters
    ----------
    row
        What was measured in it, with the columns of :func:`compared`.
    rows
        All rounds before.
    labels
        Labels of the classes.
    settings
        Limits.

    Returns
    -------
    decision
        ``"kept"``, ``"no_gain"``, ``"shifted"``, ``"vanished"`` or ``"forgot"``.
    reason
        A sentence with the figures.
    """
    for name, since in (("shift_before", "the round before"), ("shift_first", "the first one")):
        if row[name] > settings.max_shift:
            return "shifted", (
                f"The predicted classes moved by {row[name]:.3f} from {since}, more than "
                f"max_shift={settings.max_shift}."
            )
    shares = zip(labels, _predicted(rows[0], labels), _predicted(row, labels), strict=True)
    for label, first, now in shares:
        if first >= settings.protected and now < _GONE * first:
            return "vanished", (
                f"{label} fell from {first:.1%} of the predictions to {now:.1%}; a class of at "
                f"least protected={settings.protected} must not go."
            )
    forgotten = rows[0]["replay_accuracy"] - row["replay_accuracy"]
    if forgotten > settings.max_forgetting:
        return "forgot", (
            f"The accuracy on replayed patterns fell by {forgotten:.3f}, more than "
            f"max_forgetting={settings.max_forgetting}."
        )
    what = "agreement" if row["known_accuracy"] is None else "accuracy on known patterns"
    if row["gain"] < settings.min_gain:
        return "no_gain", (
            f"The {what} gained {row['gain']:.4f}, less than min_gain={settings.min_gain}."
        )
    return KEPT, f"The {what} gained {row['gain']:.4f}."


def reason_to_stop(rows: Sequence[dict], settings: IterativeSettings) -> str | None:
    """Tell whether there is another round.

    Parameters
    ----------
    rows
        All rounds so far, with the first row.
    settings
        Limits.

    Returns
    -------
    stopped
        Why there is none, or None if there is.
    """
    decision = rows[-1]["decision"]
    if decision not in (START, KEPT):
        return decision
    return "max_rounds" if len(rows) > settings.max_rounds else None


def best_round(rows: Sequence[dict]) -> int:
    """Number of the last round that was kept, 0 if none was."""
    return max(row["round"] for row in rows if row["decision"] in (START, KEPT))


def _predicted(row: dict, labels: Sequence[int | str]) -> np.ndarray:
    return np.array([row[f"predicted_{label}"] for label in labels])
