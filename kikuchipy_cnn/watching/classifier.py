# SPDX-License-Identifier: GPL-3.0-or-later

"""Classification of patterns, few or many at a time."""

from __future__ import annotations

from collections import Counter

import numpy as np
from orix.crystal_map import CrystalMap

from kikuchipy_cnn._patterns import check_patterns, mask_and_background
from kikuchipy_cnn.crystal_map import probabilities_to_crystal_map
from kikuchipy_cnn.inference import Runner, predict
from kikuchipy_cnn.judgement import answer_limits, judge
from kikuchipy_cnn.models.bundle import ModelBundle
from kikuchipy_cnn.models.ensemble import Ensemble
from kikuchipy_cnn.uncertainty.rejection import RejectReason
from kikuchipy_cnn.watching.growing_file import is_constant
from kikuchipy_cnn.watching.rows import Rows
from kikuchipy_cnn.watching.source import Layout

# A batch is filled up to its size: of few patterns, a small one is done several times sooner.
_SMALL_BATCH_SIZE = 8
_PROBABILITIES, _INDEXED = "probabilities", "indexed"


class Classifier:
    """Classifies patterns and keeps what is said of them, in the order in which they come.

    Networks are compiled at once, before there is any pattern.

    Parameters
    ----------
    model
        Model.
    max_risk, reject, signal_mask, static_background, engine, precision, batch_size
        As for :func:`~kikuchipy_cnn.classify_space_group`.
    """

    def __init__(
        self,
        model: ModelBundle | Ensemble,
        *,
        max_risk: float | None,
        reject: bool,
        signal_mask: np.ndarray | None,
        static_background: np.ndarray | bool | None,
        engine: str,
        precision: str,
        batch_size: int | None,
    ) -> None:
        self.model = model
        self.signal_mask, self.static_background = signal_mask, static_background
        self.counts: Counter[str] = Counter()
        self.n_invalid = 0
        self._limits = answer_limits(model, max_risk) if reject else None
        self._rows = Rows()
        how = {"engine": engine, "precision": precision}
        runner = Runner(model, batch_size=batch_size, **how)
        self._runners = [runner]
        if runner.batch_size > _SMALL_BATCH_SIZE:
            self._runners.insert(0, Runner(model, batch_size=_SMALL_BATCH_SIZE, **how))
        for runner in self._runners:
            # Both the preprocessing and the network are compiled by the first pattern.
            self._predict(np.arange(2 * 60 * 60, dtype=np.uint8).reshape(2, 60, 60), runner)

    @property
    def n_done(self) -> int:
        """Number of patterns that were classified."""
        return len(self._rows)

    @property
    def engine(self) -> str:
        """Engine and precision, for people."""
        return self._runners[0].description

    def decide(self, patterns: np.ndarray, background: np.ndarray | None) -> None:
        """Find the signal mask and whether to divide by the background, for good.

        Parameters
        ----------
        patterns
            First patterns of shape (n, rows, columns).
        background
            Static background of the source, or None.

        Raises
        ------
        ValueError
            If the patterns cannot be classified, or a given mask or background does not fit them.
        """
        from kikuchipy.signals import EBSD

        check_patterns(EBSD(patterns))
        varied = patterns[~is_constant(patterns)]
        signal = EBSD(varied if len(varied) else patterns, static_background=background)
        self.signal_mask, self.static_background = mask_and_background(
            signal, self.signal_mask, self.static_background
        )

    def classify(self, patterns: np.ndarray) -> None:
        """Classify some patterns.

        Parameters
        ----------
        patterns
            Patterns of shape (n, rows, columns).
        """
        # Some small batches side by side are done sooner than a large one that is not full.
        few = len(patterns) <= _SMALL_BATCH_SIZE * self._runners[0].concurrency
        prediction = self._predict(
            patterns,
            self._runners[0 if few else -1],
            signal_mask=self.signal_mask,
            static_background=self.static_background,
        )
        judgement = judge(prediction, np.ones(len(patterns), bool), limits=self._limits)
        self._rows.append(
            {
                _PROBABILITIES: judgement.probabilities,
                _INDEXED: judgement.indexed,
                **judgement.properties,
            }
        )
        self.n_invalid += int((judgement.reasons == RejectReason.INVALID).sum())
        self._count(judgement.probabilities[judgement.indexed].argmax(axis=1))

    def crystal_map(self, layout: Layout) -> CrystalMap:
        """Return the map of the first patterns.

        Parameters
        ----------
        layout
            Where they belong. Points elsewhere are not in the data.
        """
        positions = layout.positions
        order = np.argsort(positions)
        values = {name: rows[order] for name, rows in self._rows.first(len(positions)).items()}
        is_in_data = np.zeros(int(np.prod(layout.scan["navigation_shape"])), bool)
        is_in_data[positions] = True
        return probabilities_to_crystal_map(
            values.pop(_PROBABILITIES),
            self.model.classes,
            **layout.scan,
            is_in_data=is_in_data,
            indexed=values.pop(_INDEXED),
            properties=values,
        )

    def _predict(self, patterns: np.ndarray, runner: Runner, **settings):
        return predict(patterns, runner, show_progressbar=False, **settings)

    def _count(self, winners: np.ndarray) -> None:
        names = self.model.classes.names
        self.counts.update(names[i] for i in winners.tolist())
