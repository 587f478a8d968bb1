# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of iterative training."""

from __future__ import annotations

from dataclasses import dataclass

from kikuchipy_cnn._checks import check_integer

# Fewer say nothing of what the members agree on.
LEAST_PATTERNS = 20
# Of each class: two to learn from, one to tell when to stop and one to tell what is forgotten.
LEAST_REPLAY = 4


@dataclass(frozen=True)
class IterativeSettings:
    """Settings of iterative training.

    Parameters
    ----------
    n_patterns
        Most patterns that are drawn from the maps, read once and kept in memory.
    held_out
        Part of them, in whole blocks of a map, that is never learned from and tells the gain.
    confidence
        Least mean probability of a self-label.
    per_class
        Most self-labels of each class.
    least
        Classes with fewer self-labels get none.
    margin
        Members that agree with the others less than the best one does by more than this are left
        out.
    max_rounds
        Most rounds.
    min_gain
        Least gain that goes on: of the accuracy on known patterns, or of the agreement.
    max_shift
        Largest total variation of the predicted classes, from the round before and from the first.
    max_forgetting
        Largest loss of accuracy on replayed patterns since the first round.
    protected
        Classes with at least this share of the first predictions must not go.
    least_share
        Least part of the patterns to learn from that is agreed on and confident.
    replay_per_class
        Patterns of each class to simulate if no replay is given.

    Raises
    ------
    ValueError
        If a value makes no sense.

    Examples
    --------
    >>> from kikuchipy_cnn.training import IterativeSettings
    >>> settings = IterativeSettings(n_patterns=2000, max_rounds=2)
    >>> settings.confidence, settings.held_out
    (0.9, 0.25)
    """

    n_patterns: int = 4000
    held_out: float = 0.25
    confidence: float = 0.9
    per_class: int = 150
    least: int = 10
    margin: float = 0.1
    max_rounds: int = 4
    min_gain: float = 0.002
    max_shift: float = 0.3
    max_forgetting: float = 0.05
    protected: float = 0.05
    least_share: float = 0.02
    replay_per_class: int = 80

    def __post_init__(self) -> None:
        least_of_each = {
            "n_patterns": LEAST_PATTERNS,
            "per_class": 1,
            "least": 1,
            "max_rounds": 1,
            "replay_per_class": LEAST_REPLAY,
        }
        for name, least in least_of_each.items():
            check_integer(name, getattr(self, name), least)
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out={self.held_out} must be between 0 and 1.")
        if self.least > self.per_class:
            raise ValueError(
                f"least={self.least} is more than per_class={self.per_class}: no class would get a "
                "self-label."
            )
        for name in (
            *("confidence", "margin", "min_gain", "max_shift"),
            *("max_forgetting", "protected", "least_share"),
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} must be in [0, 1].")
