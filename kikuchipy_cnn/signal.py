# SPDX-License-Identifier: GPL-3.0-or-later

"""The method that this package adds to kikuchipy's EBSD signals."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from orix.crystal_map import CrystalMap
from orix.quaternion import Rotation

from kikuchipy_cnn._checks import check_integer
from kikuchipy_cnn._outcome import LazyCrystalMap, Outcome
from kikuchipy_cnn._patterns import (
    check_patterns,
    checked_background,
    checked_mask,
    mask_and_background,
    scan_geometry,
)
from kikuchipy_cnn._progress import is_progress_shown
from kikuchipy_cnn.inference import (
    Runner,
    check_engine,
    client_to_use,
    describe_client,
    lazy_prediction,
    predict,
)
from kikuchipy_cnn.judgement import FINGERPRINTS, answer_limits
from kikuchipy_cnn.models import Ensemble, ModelBundle, as_model
from kikuchipy_cnn.models.registry import ModelLike
from kikuchipy_cnn.prior import as_prior
from kikuchipy_cnn.spatial_pooling import fingerprints
from kikuchipy_cnn.uncertainty.rejection import Limits

if TYPE_CHECKING:
    from distributed import Client
    from kikuchipy.signals import EBSD


def classify_space_group(
    signal: EBSD,
    model: ModelLike | Sequence[ModelLike] = "xception_fewshot",
    *,
    max_risk: float | None = None,
    reject: bool = True,
    prior: Sequence | Mapping | np.ndarray | None = None,
    pooling_radius: int = 0,
    navigation_mask: np.ndarray | None = None,
    signal_mask: np.ndarray | None = None,
    static_background: np.ndarray | bool | None = None,
    engine: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    store: str | os.PathLike | None = None,
    scheduler: str | Client | None = None,
    compute: bool = True,
    show_progressbar: bool | None = None,
) -> CrystalMap | LazyCrystalMap:
    """Classify patterns by space group with a convolutional network.

    The method follows :cite:`kaufmann2020phase` and
    :cite:`kaufmann2021efficient`.

    Parameters
    ----------
    signal
        EBSD signal, lazy or not, with patterns of at least 40 x 40
        pixels.
    model
        Name of a packaged model (see :func:`~kikuchipy_cnn.list_models`),
        path of a model bundle, or a model from
        :func:`~kikuchipy_cnn.load_model`, which saves loading it anew
        for each signal. A list of these is an ensemble. Default is
        ``"xception_fewshot"``.
    max_risk
        Part of the answers that may be wrong, such as 0.01, by the
        risk-coverage curve of the model, which was measured on
        simulated patterns. Patterns of less confidence than this takes
        are not indexed. If not given, the model's own limit is used.
    reject
        Whether to leave patterns without an answer that are hardly of
        any of the model's phases, or of little confidence. Default is
        True. Without, *max_risk* has no effect.
    prior
        What is known of the sample before its patterns are seen, to be
        combined with the probabilities by Bayes' rule: a list of the
        labels (space-group numbers) that are possible, a mapping from
        labels to their area fractions, or an array of the navigation
        shape and one more axis for the classes, see also
        :func:`~kikuchipy_cnn.composition_prior`. If not given, all
        classes are as probable.
    pooling_radius
        Distance in steps of the map to the farthest neighbours of a
        point whose probabilities are pooled with its own where their
        patterns are alike, that is, of one grain. Default is 0, which
        is for none.
    navigation_mask
        Boolean mask of the navigation shape. Only patterns at positions
        with ``False`` are classified. If not given, all are.
    signal_mask
        Boolean mask of the signal shape. Only pixels with ``False`` are
        used. If not given, the mask of a circular detector is found
        from the patterns; all pixels are used if there is none.
    static_background
        Static background to divide the patterns by, of the signal
        shape. If not given, the signal's own is used if it has one that
        is still in the patterns. Pass ``False`` to leave it.
    engine
        What runs the network: ``"keras"``, ``"openvino"``, which is
        several times faster on a CPU and comes with
        ``pip install "kikuchipy-cnn[fast]"``, or ``"auto"``, which is
        OpenVINO where it is installed and there is no graphics
        processor. The engine and the precision are printed.
    precision
        Numbers that the network computes with: ``"float32"``,
        ``"bfloat16"``, ``"float16"`` (graphics processors only) or
        ``"auto"``, which is the half precision that the processor has
        instructions for, if any. Half precision changes few answers,
        see the documentation on speed.
    batch_size
        Number of patterns that the network takes at once. If not given,
        64 on a CPU, and what is fastest on a graphics processor. Batches
        for which memory does not suffice are halved.
    store
        HDF5 file that keeps the results as they come. After an
        interruption, the same call goes on from there; once all is
        done, it takes the results from there, with another *max_risk*
        or *prior*, too. If not given, nothing is kept.
    scheduler
        Client of a Dask cluster whose workers classify the patterns, or
        ``"threads"`` to classify them here. If not given, lazy signals
        are classified by the client that is active, if there is one.
    compute
        Whether to classify now. If False, a lazy result is returned.
    show_progressbar
        Whether to show a progress bar. If not given, the value of
        :obj:`hyperspy.api.preferences.General.show_progressbar` is
        used.

    Returns
    -------
    xmap
        Crystal map or, if *compute* is False, an object whose
        ``compute()`` returns it. It has one phase
        per space group found, named by its Hermann-Mauguin symbol, with
        the space-group number as phase ID. If the model's classes are
        others, such as phases or Laue groups, these are the phases, by
        name, numbered from 1 in the order of the model. Rotations are
        those of the signal's crystal map, if it has one, or identity:
        classification gives no orientations. Properties:

        - ``scores``: probability of the winner, 0 where not indexed
        - ``entropy``: from 0 (sure) to 1 (no idea)
        - ``margin``: distance to the second
        - ``p_225``, ``p_Ni3Al`` and so on: probability of each class,
          with ``:`` for ``/``
        - ``confidence``: probability of the winner, times
          ``known_phase``
        - ``reject_reason``: why a point is not indexed (phase ID -1):
          0, it is; 1, the pattern is constant or has values that are
          not finite; 2, no diffraction; 3, a phase outside the classes;
          4, too doubtful; see
          :class:`~kikuchipy_cnn.uncertainty.RejectReason`
        - ``known_phase``, ``no_pattern``: probability that the image is
          of a phase of the classes, and that it is no pattern, if the
          model tells
        - ``mutual_information``, ``spread``: what the members of an
          ensemble do not agree on, from 0 to 1, and the standard
          deviation of the winner's probability over the members
        - ``evidence_ratio``, only with *prior*: how much more probable
          the prior makes the pattern than equal probabilities do. Far
          below 1, the pattern contradicts it
        - ``n_pooled``, only with *pooling_radius*: number of patterns
          whose probabilities were pooled

    Raises
    ------
    ValueError
        If there is no such model, there are no patterns, the patterns
        are too small, the signal has more than two navigation
        dimensions, a mask has another shape or leaves nothing, the
        prior does not fit the classes, or the risk cannot be had.

    Warns
    -----
    UserWarning
        If some patterns are constant or have values that are not finite,
        or many contradict the prior.

    See Also
    --------
    kikuchipy.signals.EBSD.hough_indexing
    kikuchipy.signals.EBSD.dictionary_indexing

    Examples
    --------
    >>> import kikuchipy as kp
    >>> import kikuchipy_cnn
    >>> s = kp.data.nickel_ebsd_small()
    >>> xmap = s.classify_space_group(
    ...     "fast_fewshot", show_progressbar=False
    ... )
    Space group classification information:
      Model: fast_fewshot (xception_narrow, 71 x 71 pixels)
      Engine: ...
      Space groups: Pm-3m, Pm-3n, Fm-3m, Fd-3m, Im-3m, Ia-3d
      Classifying 9 pattern(s) of 60 x 60 pixels
      Static background: divided by
      Signal mask: none
      Rejection: known phase below 0.847, confidence below 0.207
      Classification speed: ... patterns/s
      Patterns: ...
    >>> xmap.shape
    (3, 3)
    >>> xmap[1, 2].phases_in_data.names
    ['Fm-3m']
    >>> xmap[1, 2].p_225.round(1)
    array([0.9], dtype=float32)
    """
    if batch_size is not None:
        check_integer("batch_size", batch_size, 1)
    check_integer("pooling_radius", pooling_radius, 0)
    check_engine(engine, precision)
    if store is not None and not compute:
        raise ValueError(f"store={os.fspath(store)!r} is for compute=True only.")
    # All that can be told without the patterns is told before the long work.
    scan = scan_geometry(signal)
    navigation_shape = signal.axes_manager.navigation_shape[::-1]
    signal_shape = signal.axes_manager.signal_shape[::-1]
    check_patterns(signal)
    navigation_mask = checked_mask(navigation_mask, "navigation_mask", navigation_shape)
    signal_mask = checked_mask(signal_mask, "signal_mask", signal_shape)
    checked_background(static_background, signal_shape)
    client = client_to_use(scheduler, signal.data)
    rotations = _rotations(signal, navigation_shape)
    model = as_model(model)
    limits = answer_limits(model, max_risk) if reject else None
    used = np.ones(navigation_shape, bool) if navigation_mask is None else ~navigation_mask
    n_patterns = int(used.sum())
    if prior is not None:
        prior = _used_part(as_prior(prior, model.classes, used.size), used)

    mask_found = signal_mask is None
    signal_mask, background = mask_and_background(
        signal, signal_mask, static_background, navigation_mask
    )
    how = {"engine": engine, "precision": precision, "batch_size": batch_size}
    if client is None and compute:
        runner = Runner(model, n_patterns=n_patterns, **how)
        where = runner.description
    else:
        runner, where = model, "later" if client is None else describe_client(client)
    print(
        _information(
            model,
            n_patterns,
            signal_shape,
            where=where,
            has_background=background is not None,
            signal_mask=signal_mask,
            mask_found=mask_found,
            limits=limits,
            has_prior=prior is not None,
            pooling_radius=pooling_radius,
        )
    )
    outcome = Outcome(model.classes, scan, used, rotations, limits, prior, pooling_radius)
    settings = {
        "navigation_mask": navigation_mask,
        "signal_mask": signal_mask,
        "static_background": background,
        "of_images": {FINGERPRINTS: fingerprints} if pooling_radius else {},
        **how,
    }
    if not compute:
        return LazyCrystalMap(lazy_prediction(signal.data, model, **settings), outcome)
    classified: list[int] = []
    start = time.perf_counter()
    try:
        prediction = predict(
            signal.data,
            runner,
            store=store,
            client=client,
            on_progress=classified.append,
            show_progressbar=is_progress_shown(show_progressbar),
            **settings,
        )
    except KeyboardInterrupt:
        if store is None:
            print("Interrupted. With store='results.h5', what is done would have been kept.")
        raise
    seconds = time.perf_counter() - start
    if sum(classified) < n_patterns:
        print(f"  From '{os.fspath(store)}': {n_patterns - sum(classified)} patterns")
    if classified:
        print(f"  Classification speed: {sum(classified) / seconds:.1f} patterns/s")
    return outcome.crystal_map(prediction)


def _rotations(signal: EBSD, navigation_shape: tuple[int, ...]) -> Rotation | None:
    """Rotations of the signal's crystal map, identity where it has none for a point."""
    xmap = signal.xmap
    n_points = int(np.prod(navigation_shape))
    if xmap is None:
        return None
    if xmap.size == n_points:
        # A sliced signal has the part of the map in data that it shows.
        return xmap.rotations
    if xmap.is_in_data.size == n_points:
        best = xmap.rotations.data.reshape(xmap.size, -1, 4)[:, 0]
        quaternions = np.tile([1.0, 0.0, 0.0, 0.0], (n_points, 1))
        quaternions[xmap.is_in_data] = best
        return Rotation(quaternions)
    warnings.warn(
        f"The signal's crystal map has {xmap.size} points for {n_points} patterns. Its rotations "
        "are not used.",
        stacklevel=3,
    )
    return None


def _used_part(prior: np.ndarray, used: np.ndarray) -> np.ndarray:
    return prior if len(prior) == 1 else prior[used.ravel()]


def _rejection_information(limits: Limits | None) -> str:
    if limits is None:
        return "none"
    return f"known phase below {limits.known_phase:.3f}, confidence below {limits.confidence:.3f}"


def _information(
    model: ModelBundle | Ensemble,
    n_patterns: int,
    signal_shape: tuple[int, ...],
    *,
    where: str,
    has_background: bool,
    signal_mask: np.ndarray | None,
    mask_found: bool,
    limits: Limits | None,
    has_prior: bool,
    pooling_radius: int,
) -> str:
    if signal_mask is None:
        mask = "none"
    else:
        kind = "found" if mask_found else "given"
        mask = f"{kind}, {np.mean(~signal_mask):.0%} of pixels used"
    size = model.transform.size
    lines = [
        "Space group classification information:",
        f"  Model: {model.name} ({model.architecture}, {size} x {size} pixels)",
        f"  Engine: {where}",
        f"  {model.classes.plural.capitalize()}: {', '.join(model.classes.names)}",
        f"  Classifying {n_patterns} pattern(s) of {signal_shape[0]} x {signal_shape[1]} pixels",
        f"  Static background: {'divided by' if has_background else 'none'}",
        f"  Signal mask: {mask}",
        f"  Rejection: {_rejection_information(limits)}",
    ]
    if has_prior:
        lines.append("  Prior: given, by Bayes' rule after calibration")
    if pooling_radius:
        lines.append(
            f"  Pooling: neighbours of the same grain, up to {pooling_radius} step(s) away"
        )
    return "\n".join(lines)
