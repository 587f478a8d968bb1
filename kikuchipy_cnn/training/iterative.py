# SPDX-License-Identifier: GPL-3.0-or-later

"""Ensemble learning and iterative training: models follow a data set whose imaging drifted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from kikuchipy.signals import EBSD

from kikuchipy_cnn._checks import check_integer
from kikuchipy_cnn._tables import aligned
from kikuchipy_cnn.models import Ensemble, as_model
from kikuchipy_cnn.models.registry import ModelLike
from kikuchipy_cnn.training.augmentation import Augmentation
from kikuchipy_cnn.training.calibration import calibrate
from kikuchipy_cnn.training.checkpoint import fingerprint_of
from kikuchipy_cnn.training.iterative_data import IterativeData
from kikuchipy_cnn.training.iterative_rounds import Rounds
from kikuchipy_cnn.training.iterative_settings import IterativeSettings
from kikuchipy_cnn.training.labelled import LabelledPatterns
from kikuchipy_cnn.training.protocol import FewShotProtocol
from kikuchipy_cnn.training.round_decision import best_round, reason_to_stop
from kikuchipy_cnn.training.round_log import RoundLog, check_folder, load_round, save_rows

DEFAULT_PROTOCOL = FewShotProtocol(
    learning_rate=3e-4,
    max_epochs=8,
    patience=3,
    batch_size=64,
    augmentation=Augmentation(mirror=True),
)


@dataclass(frozen=True, eq=False)
class IterativeResult:
    """What an iterative training has made.

    Parameters
    ----------
    model
        Ensemble of the best round, calibrated if there were known patterns.
    rounds
        What happened in each round, from 0, which are the models as they were given. See
        :func:`iterative_training` for the columns.
    best_round
        Number of the last round that was kept.
    stopped
        Why it ended: ``"no_gain"``, ``"max_rounds"``, ``"too_few"`` or ``"one_class"`` (of
        self-labels), or a sign of collapse: ``"shifted"`` (the predicted classes), ``"vanished"``
        (a class) or ``"forgot"`` (what was known).
    folder
        Where the rounds are.
    start
        The models as they were given.

    Examples
    --------
    An untrained network stands for both members, and there are few
    patterns, for the example to be quick:

    >>> import kikuchipy_cnn
    >>> from kikuchipy_cnn import models, simulation, training
    >>> member = models.ModelBundle(
    ...     "untrained",
    ...     "tiny",
    ...     models.build_network("tiny", (40, 40, 1), 2),
    ...     kikuchipy_cnn.SpaceGroupClasses((225, 229)),
    ...     kikuchipy_cnn.PatternTransform(size=40),
    ... )
    >>> known = training.LabelledPatterns.from_simulation(
    ...     ["Ni", "W"], 8, show_progressbar=False
    ... )
    >>> s = simulation.simulate_patterns(
    ...     [simulation.load_master_pattern(i) for i in ("Ni", "W")],
    ...     40,
    ...     show_progressbar=False,
    ... )
    >>> result = training.iterative_training(
    ...     [member, member],
    ...     s,
    ...     work="rounds",
    ...     protocol=training.FewShotProtocol(max_epochs=1),
    ...     settings=training.IterativeSettings(
    ...         confidence=0.5, least=1, max_rounds=1
    ...     ),
    ...     known=known,
    ...     replay=known,
    ...     show_progressbar=False,
    ... )
    >>> result.rounds[0]["decision"], result.best_round in (0, 1)
    ('start', True)
    >>> result.model
    Ensemble(...)
    >>> print(result.table())
    round ...
    """

    model: Ensemble
    rounds: list[dict]
    best_round: int
    stopped: str
    folder: Path
    start: Ensemble

    def model_of(self, number: int) -> Ensemble:
        """Go back to any round, also to one that was not kept, as it was then.

        Parameters
        ----------
        number
            Number of the round, from 0.

        Returns
        -------
        model
            Ensemble of this round.

        Raises
        ------
        ValueError
            If there is no such round, or it ended before a model was made.
        """
        if not 0 <= number < len(self.rounds):
            raise ValueError(f"There is no round {number}, only 0 to {len(self.rounds) - 1}.")
        if number == 0:
            return self.start
        if self.rounds[number]["agreement"] is None:
            raise ValueError(
                f"Round {number} has made no model: {self.rounds[number]['reason']} Ask for an "
                "earlier one."
            )
        return load_round(self.folder, number)

    def save_history(self, path: str | os.PathLike) -> None:
        """Write the rounds as CSV.

        Parameters
        ----------
        path
            File to write. An existing one is replaced.
        """
        save_rows(self.rounds, path)

    def table(self) -> str:
        """Return the rounds as text in columns.

        Returns
        -------
        table
            One line for each round, below the names of the columns.
        """
        names = (
            *("round", "members", "decision", "self_labels", "agreement", "confidence"),
            *("known_accuracy", "replay_accuracy", "gain", "shift_first"),
        )
        rows = [tuple(name.replace("_", " ") for name in names)]
        rows += [tuple(_cell(row[name]) for name in names) for row in self.rounds]
        return aligned(rows, n_left=3)


def iterative_training(
    model: Ensemble | Sequence[ModelLike] | str | os.PathLike,
    signal: EBSD | Sequence[EBSD],
    *,
    work: str | os.PathLike,
    protocol: FewShotProtocol | None = None,
    settings: IterativeSettings | None = None,
    known: LabelledPatterns | None = None,
    replay: LabelledPatterns | None = None,
    navigation_mask: np.ndarray | Sequence[np.ndarray | None] | None = None,
    seed: int = 0,
    show_progressbar: bool | None = None,
) -> IterativeResult:
    """Let an ensemble follow patterns whose voltage, noise, camera or contamination drifted.

    This is self-training: the members label the patterns that they agree on and are sure of, and
    learn from these labels (Lee, ICML workshop 2013; Xie et al., CVPR 2020). In each round

    1. the members that suit the data are chosen, by how much they agree with each other, see
       :func:`~kikuchipy_cnn.training.self_labelling.member_agreements`;
    2. patterns that all of these give the same class, with a mean probability of at least the
       *confidence*, are labelled, as many of each class at most and from all over the maps. Where
       members that were given tell known phases from others, the pattern must also be of a known
       phase;
    3. each member is trained on from its present weights, on these labels, on *replay* and on half
       of *known*. Each one leaves out another part of the maps, which tells when to stop its
       training, so that members do not learn from the same patterns;
    4. the gain is measured on what is held out.

    The gain is that of accuracy on the other half of *known*. Without it, there is no measure of
    what is right. Mean confidence would be easy to gain: self-training makes networks sure of
    anything. The measure is how much more the members agree on patterns of held-out blocks than
    they did before the training, because networks that were trained on different patterns are as
    often of one mind as they are right, if they are calibrated (Jiang et al., ICLR 2022). It is the
    agreement beyond chance, Cohen's kappa, for members that all give one class agree without
    knowing anything. Members can also become sure of the same mistake, and no measure without
    labels tells: give a few known patterns where it matters.

    Rounds are kept as long as there is a gain and no sign of collapse: predicted classes that move
    too far, a class that vanishes, or loss of accuracy on replayed patterns. The first round that
    is not kept is the last.

    Parameters
    ----------
    model
        Ensemble, its path, or at least two models that can be one.
    signal
        One map or several, of at most two dimensions each, recorded under the new conditions. Maps
        have thousands to millions of patterns, of which at most *settings.n_patterns* are kept in
        memory: those on a jittered grid all over the maps. Lazy maps are read once, in parts.
    work
        Folder for the rounds. It gets ``rounds.csv``, ``rounds.json`` and, for each round, a model
        in ``round_1`` and so on. If it holds the rounds of the same training, this goes on after
        the last one; *settings.max_rounds* may then be larger.
    protocol
        How members are trained. If not given, at most 8 epochs with a learning rate of 3e-4,
        64 patterns in a batch and mirrored patterns.
    settings
        All else.
    known
        Patterns of known label of the new conditions, at least two of some class: half of each
        class is learned from, half tells the gain. They must not be among the patterns of *signal*
        that can be drawn: mask them out there.
    replay
        Patterns by which the members keep what they know, at least four of each class: half of each
        class is learned from, a quarter tells when to stop, a quarter what is forgotten. If not
        given, phases of the packaged library are simulated.
    navigation_mask
        Boolean mask of the navigation shape, False for the patterns that may be drawn; for several
        maps one each, or None.
    seed
        Seed of all that is drawn.
    show_progressbar
        Whether to show progress bars. If not given, the value of
        :obj:`hyperspy.api.preferences.General.show_progressbar` is used.

    Returns
    -------
    result
        Best ensemble and what happened in each round:

        - ``round``, ``members``: number of the round; number and name of the chosen members
        - ``self_labels``, ``self_labels_225`` and so on: number of self-labels, of each class
        - ``agreement_before``, ``agreement``: kappa of the chosen members on held-out patterns,
          before and after training
        - ``confidence``: mean probability of the winner there
        - ``known_accuracy``, ``replay_accuracy``: on patterns that were not learned from
        - ``gain``: what the decision was about
        - ``shift_before``, ``shift_first``: total variation of the classes predicted on held-out
          patterns from the round before and from the first
        - ``predicted_225`` and so on: share of each class there
        - ``decision``, ``reason``: what was decided and why

        Members keep their temperatures: self-labels are what they were sure of, and calibrated on
        these they would be too sure. With *known*, the best ensemble, but none that
        :meth:`IterativeResult.model_of` gives, is calibrated on the half that told the gain.
        Detectors and thresholds of rejection are not kept, as they do not fit the new features and
        confidences.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C. The same call goes on after the last round that was finished.
    NotADirectoryError
        If *work* is a file.
    TypeError
        If *signal*, *known* or *replay* is something else.
    ValueError
        If the models do not fit together, the first round has too few self-labels or all of one
        class without known labels, there are too few patterns, or labels that the members do not
        know, or *work* holds another training.

    See Also
    --------
    FewShotTrainer : where patterns of known label are enough.

    Examples
    --------
    An untrained network stands for both members, and there are few
    patterns, for the example to be quick:

    >>> import kikuchipy_cnn
    >>> from kikuchipy_cnn import models, simulation, training
    >>> member = models.ModelBundle(
    ...     "untrained",
    ...     "tiny",
    ...     models.build_network("tiny", (40, 40, 1), 2),
    ...     kikuchipy_cnn.SpaceGroupClasses((225, 229)),
    ...     kikuchipy_cnn.PatternTransform(size=40),
    ... )
    >>> known = training.LabelledPatterns.from_simulation(
    ...     ["Ni", "W"], 8, show_progressbar=False
    ... )
    >>> s = simulation.simulate_patterns(
    ...     [simulation.load_master_pattern(i) for i in ("Ni", "W")],
    ...     40,
    ...     show_progressbar=False,
    ... )
    >>> result = training.iterative_training(
    ...     [member, member],
    ...     s,
    ...     work="rounds",
    ...     protocol=training.FewShotProtocol(max_epochs=1),
    ...     settings=training.IterativeSettings(
    ...         confidence=0.5, least=1, max_rounds=1
    ...     ),
    ...     known=known,
    ...     replay=known,
    ...     show_progressbar=False,
    ... )
    >>> len(result.rounds), len(result.model.members)
    (2, 2)
    """
    settings = IterativeSettings() if settings is None else settings
    protocol = DEFAULT_PROTOCOL if protocol is None else protocol
    check_integer("seed", seed, 0)
    check_folder(work)
    signals, masks = _checked_maps(signal, navigation_mask)
    _check_labelled(known=known, replay=replay)
    ensemble = as_model(model)
    if not isinstance(ensemble, Ensemble):
        raise ValueError(
            f"{ensemble.name!r} is one network, which nothing disagrees with. Give at least two."
        )
    data = IterativeData.read(
        ensemble, signals, masks, known, replay, settings, seed, show_progressbar
    )
    log = RoundLog(work, _fingerprint(ensemble, data, settings, protocol, seed))
    rounds = Rounds(ensemble, data, settings, protocol, seed, show_progressbar)
    if not log.rows:
        log.add(rounds.first())
    while (stopped := reason_to_stop(log.rows, settings)) is None:
        last = len(log.rows) - 1
        # From disk, where weights have fewer digits: a run that was broken off does so too.
        log.add(*rounds.next(ensemble if last == 0 else load_round(work, last), log.rows))
    best = best_round(log.rows)
    result = IterativeResult(ensemble, list(log.rows), best, stopped, log.folder, ensemble)
    if best == 0:
        return result
    return replace(result, model=_calibrated(result.model_of(best), data))


def _calibrated(ensemble: Ensemble, data: IterativeData) -> Ensemble:
    """Fit temperatures to known patterns, where there are some, when nothing is judged any more."""
    if data.known is None:
        return ensemble
    judged = data.known[-1]
    calibrated = calibrate(ensemble, judged, show_progressbar=False)
    note = f"After that round, temperatures were fitted to {len(judged)} known patterns."
    return replace(calibrated, card=f"{ensemble.card}\n{note}\n")


def _checked_maps(signal: object, mask: object) -> tuple[list[EBSD], list[np.ndarray | None]]:
    signals = [signal] if isinstance(signal, EBSD) else signal
    if not isinstance(signals, Sequence) or not all(isinstance(one, EBSD) for one in signals):
        raise TypeError(
            f"signal is of type {type(signal).__name__}. Give an EBSD signal, or a list of them."
        )
    if len(signals) == 0:
        raise ValueError("There is no signal. Give at least one.")
    if isinstance(signal, EBSD):
        masks = [mask]
    else:
        masks = [None] * len(signals) if mask is None else list(mask)
    if len(masks) != len(signals):
        raise ValueError(
            f"There are {len(masks)} navigation masks for {len(signals)} signals. Give one for "
            "each, or None."
        )
    return list(signals), masks


def _check_labelled(**given: object) -> None:
    for name, patterns in given.items():
        if not isinstance(patterns, LabelledPatterns | None):
            raise TypeError(
                f"{name} is {type(patterns).__name__}, not LabelledPatterns. "
                "LabelledPatterns.from_signals() makes them from signals."
            )


def _fingerprint(
    ensemble: Ensemble,
    data: IterativeData,
    settings: IterativeSettings,
    protocol: FewShotProtocol,
    seed: int,
) -> str:
    described = {
        # More rounds may be asked for later.
        "settings": asdict(settings) | {"max_rounds": None},
        "protocol": protocol.to_dict(),
        "seed": seed,
        "classes": ensemble.classes.to_dict(),
        "transform": ensemble.transform.to_dict(),
        "temperatures": [ensemble.temperature, *(m.temperature for m in ensemble.members)],
    }
    weights = [array for m in ensemble.members for array in m.network.get_weights()]
    return fingerprint_of([described, *weights, *data.arrays()])


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
