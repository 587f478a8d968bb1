# SPDX-License-Identifier: GPL-3.0-or-later

"""Crystal maps from class probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from orix.crystal_map import CrystalMap, PhaseList, create_coordinate_arrays
from orix.quaternion import Rotation
from scipy.special import entr

from kikuchipy_cnn._tables import aligned
from kikuchipy_cnn.label_classes import LabelClasses
from kikuchipy_cnn.space_groups import (
    Classes,
    SpaceGroupClasses,
    probability_keys,
    probability_property,
)

__all__ = [
    "IMAGE_QUALITY",
    "all_properties",
    "check_phase_ids",
    "classes_from_crystal_map",
    "first_property",
    "map_like",
    "map_of_points",
    "map_shape",
    "of_all_points",
    "point_properties",
    "probabilities_to_crystal_map",
    "summary_table",
]

# Names of the property that is the quality of the pattern, of several programs
IMAGE_QUALITY = ("iq", "image_quality", "imagequality", "pq")
_IDENTITY = (1.0, 0.0, 0.0, 0.0)
# A softmax in half precision is off one by some thousandths
_SUM_TOLERANCE = 0.01


def classes_from_crystal_map(xmap: CrystalMap) -> SpaceGroupClasses | LabelClasses:
    """Return the classes whose probabilities a crystal map holds.

    Parameters
    ----------
    xmap
        Crystal map.

    Returns
    -------
    classes
        Classes in ascending order, as files do not keep the order of
        the properties. Of classes that are not space groups, the space
        groups are known of those with points only.

    Raises
    ------
    ValueError
        If there are not two class probabilities among the properties,
        or an indexed point is of another class.
    """
    keys = probability_keys(xmap.prop)
    numbers = sorted(int(key) for key in keys if key.isdecimal())
    if len(keys) < 2 or len(numbers) == 1:
        raise ValueError(
            f"The crystal map has the properties {list(xmap.prop)}, but no two like "
            f"{probability_property(225)!r}: pass a map from classify_space_group()"
        )
    if numbers:
        classes = SpaceGroupClasses(tuple(numbers))
    else:
        groups = {phase.name: phase.space_group for _, phase in xmap.phases}
        names = sorted(keys)
        classes = LabelClasses(
            tuple(names),
            tuple(None if groups.get(i) is None else groups[i].number for i in names),
        )
    check_phase_ids(xmap, classes)
    return classes


def probabilities_to_crystal_map(
    probabilities: np.ndarray,
    classes: Classes,
    *,
    navigation_shape: tuple[int, ...],
    step_sizes: tuple[float, ...] | None = None,
    scan_unit: str | None = "px",
    is_in_data: np.ndarray | None = None,
    indexed: np.ndarray | None = None,
    rotations: Rotation | None = None,
    properties: Mapping[str, np.ndarray] | None = None,
) -> CrystalMap:
    """Return a crystal map with the most probable class in each point.

    Parameters
    ----------
    probabilities
        Probabilities of shape (n points in data, n classes), each row
        summing to one, in row-major order of the points in data.
    classes
        Classes in the order of the columns.
    navigation_shape
        Map shape (rows, columns), (columns,), or () for one pattern.
    step_sizes
        Step sizes in scan units, in the order of *navigation_shape*. If
        not given, these are 1.
    scan_unit
        Length unit of the step sizes. None is the same as "px".
    is_in_data
        Whether each point has a row in *probabilities*, of the map's
        shape or flattened. If not given, all points have.
    indexed
        Whether each point in data is to be given a class, of shape
        (n points in data,). False is for "no solution". If not given,
        all points are.
    rotations
        Rotations of all points or of the points in data, of shape (n,)
        or (n, m), in which case the first of m is used. If not given,
        these are identity.
    properties
        Further properties by name, each of shape (n points in data,).

    Returns
    -------
    xmap
        Crystal map with the phases of the classes, whose IDs are the
        space-group numbers if these are the classes, and these
        properties of one value per point:

        - scores: probability of the winner, 0 where not indexed
        - entropy: Shannon entropy of the probabilities, from 0 (all on
          one class) to 1 (the same on all)
        - margin: probability of the winner minus that of the runner-up
        - p_225 and so on: probability of each class, see
          :func:`~kikuchipy_cnn.space_groups.probability_property`

    Raises
    ------
    TypeError
        If *rotations* are not orix rotations.
    ValueError
        If an array's shape disagrees with another's, the map has no
        points or more than two dimensions, a step size is not positive,
        or a row of an indexed point is not a set of probabilities.

    Notes
    -----
    orix keeps only the phases that own points in
    :attr:`~orix.crystal_map.CrystalMap.phases`. The classes without
    points are not lost, as their probabilities are properties; get them
    with :func:`classes_from_crystal_map`.

    Points without a solution have phase ID -1 and identity rotation.
    They keep their probabilities, entropy and margin, which tell why
    they were rejected. A row with values that are not finite is
    replaced by the same probability of all classes there.

    Points not in data have phase ID -1, identity rotation, and all
    properties 0.

    The coordinates start at 0, as orix returns maps of the wrong shape
    if they do not.
    """
    map_shape, step_sizes = _checked_shape(navigation_shape, step_sizes)
    in_data = _checked_is_in_data(is_in_data, map_shape)
    n_in_data = np.count_nonzero(in_data)

    probabilities = np.asarray(probabilities)
    classes.check_probabilities(probabilities)
    if probabilities.shape[0] != n_in_data:
        raise ValueError(
            f"There are {probabilities.shape[0]} rows of probabilities, but {n_in_data} points in "
            f"data in the map of shape {map_shape}: give one row for each"
        )
    if indexed is None:
        indexed = np.ones(n_in_data, dtype=bool)
    indexed = np.asarray(indexed, dtype=bool)
    if indexed.shape != (n_in_data,):
        raise ValueError(f"Shape {indexed.shape} of indexed must be ({n_in_data},)")
    probabilities = _checked_rows(probabilities, indexed)

    winners = np.array(classes.ids)[probabilities.argmax(axis=1)]
    quaternions = np.tile(_IDENTITY, (n_in_data, 1))
    if rotations is not None:
        quaternions = _rotations_in_data(rotations, in_data)
    further = {} if properties is None else properties
    return map_of_points(
        np.where(indexed, winners, -1),
        classes.phase_list(),
        quaternions,
        point_properties(probabilities, classes, indexed) | further,
        in_data,
        navigation_shape=map_shape,
        step_sizes=step_sizes,
        scan_unit=scan_unit,
    )


def map_of_points(
    phase_id: np.ndarray,
    phases: PhaseList,
    quaternions: np.ndarray,
    properties: Mapping[str, np.ndarray],
    is_in_data: np.ndarray,
    *,
    navigation_shape: tuple[int, ...],
    step_sizes: tuple[float, ...] | None = None,
    scan_unit: str | None = "px",
) -> CrystalMap:
    """Return a crystal map from what is known of its points in data.

    Parameters
    ----------
    phase_id
        Phase IDs, -1 where not indexed, of shape (n points in data,).
    phases
        Phases, also those without points.
    quaternions
        Rotations of shape (n points in data, 4), which are not used
        where not indexed.
    properties
        Properties by name, of shape (n points in data,).
    is_in_data
        Whether each point is in data.
    navigation_shape, step_sizes, scan_unit
        As of :func:`probabilities_to_crystal_map`.

    Returns
    -------
    xmap
        Crystal map. Points that are not indexed, or not in data, have
        phase ID -1 and identity rotation, those not in data all
        properties 0.
    """
    map_shape, step_sizes = _checked_shape(navigation_shape, step_sizes)
    coordinates, _ = create_coordinate_arrays(map_shape, step_sizes)
    rotations = np.where((phase_id == -1)[:, None], _IDENTITY, quaternions)
    return CrystalMap(
        rotations=Rotation(of_all_points(rotations, is_in_data, _IDENTITY)),
        phase_id=of_all_points(phase_id, is_in_data, -1),
        phase_list=phases,
        prop={name: of_all_points(values, is_in_data) for name, values in properties.items()},
        scan_unit="px" if scan_unit is None else scan_unit,
        is_in_data=is_in_data,
        **coordinates,
    )


def map_like(
    xmap: CrystalMap,
    phases: PhaseList,
    *,
    phase_id: np.ndarray | None = None,
    rotations: Rotation | None = None,
    properties: Mapping[str, np.ndarray] | None = None,
) -> CrystalMap:
    """Return a map of the same points with something else in them.

    Parameters
    ----------
    xmap
        Crystal map.
    phases
        Phases.
    phase_id, rotations, properties
        Phase IDs, rotations and properties of all points, also of those
        not in data. If not given, those of the map.

    Returns
    -------
    copy
        Crystal map.

    Notes
    -----
    orix gives the coordinates of points that are not in the data in no
    other way, and cannot copy a map that has some.
    """
    return CrystalMap(
        rotations=xmap._rotations if rotations is None else rotations,
        phase_id=xmap._phase_id if phase_id is None else phase_id,
        x=xmap._x,
        y=xmap._y,
        phase_list=phases,
        prop=all_properties(xmap) if properties is None else dict(properties),
        scan_unit=xmap.scan_unit,
        is_in_data=xmap.is_in_data.copy(),
    )


def of_all_points(
    values: np.ndarray, is_in_data: np.ndarray, elsewhere: float | Sequence[float] = 0
) -> np.ndarray:
    """Return values of all points of a map.

    Parameters
    ----------
    values
        Values of the points in data, of shape (n points in data, ...).
    is_in_data
        Whether each point is in data.
    elsewhere
        Value of the others, which may be of several numbers.

    Returns
    -------
    every
        Array of the same data type.
    """
    values = np.asarray(values)
    every = np.full((is_in_data.size, *values.shape[1:]), elsewhere, dtype=values.dtype)
    every[is_in_data] = values
    return every


def all_properties(xmap: CrystalMap) -> dict[str, np.ndarray]:
    """Return the properties of all points of a map, also of those not in
    data.

    Parameters
    ----------
    xmap
        Crystal map.
    """
    # CrystalMap itself returns those of the points in data
    return dict(xmap.prop.items())


def first_property(xmap: CrystalMap, names: Iterable[str]) -> np.ndarray | None:
    """Return the first of some properties that a map has.

    Parameters
    ----------
    xmap
        Crystal map.
    names
        Names of the properties.

    Returns
    -------
    values
        Values of all points, also of those not in data, of shape (n,),
        the first one where a point has several. None if the map has none
        of the properties.
    """
    for name in names:
        if name in xmap.prop:
            values = np.asarray(all_properties(xmap)[name])
            return values if values.ndim == 1 else values[:, 0]
    return None


def map_shape(xmap: CrystalMap) -> tuple[int, int]:
    """Return the rows and columns of a whole map, whatever part of it is
    in data.

    Parameters
    ----------
    xmap
        Crystal map.

    Notes
    -----
    orix gives a column of points a shape of one dimension, as it gives a
    row of them.
    """
    shape = xmap._original_shape
    if len(shape) == 2:
        return int(shape[0]), int(shape[1])
    n = xmap.is_in_data.size
    return (n, 1) if xmap.dx == 0 and xmap.dy > 0 else (1, n)


def point_properties(
    probabilities: np.ndarray, classes: Classes, indexed: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the properties of points that follow from probabilities.

    Parameters
    ----------
    probabilities
        Probabilities of shape (n, n classes).
    classes
        Classes in the order of the columns.
    indexed
        Whether each point is given a class, of shape (n,).

    Returns
    -------
    properties
        Values of shape (n,) by name, see
        :func:`probabilities_to_crystal_map`.
    """
    runner_up, best = np.partition(probabilities, -2, axis=1)[:, -2:].T
    entropy = entr(probabilities).sum(axis=1) / np.log(len(classes))
    properties = {
        "scores": np.where(indexed, best, 0),
        "entropy": entropy.clip(0, 1),
        "margin": best - runner_up,
    }
    return properties | dict(zip(classes.properties, probabilities.T, strict=True))


def check_phase_ids(xmap: CrystalMap, classes: Classes) -> None:
    """Raise ValueError unless all indexed points are of one of the
    classes.

    Parameters
    ----------
    xmap
        Crystal map.
    classes
        Classes of the model. Phases of space groups are told by their
        IDs, others by their names too, as all such models have the same
        IDs.
    """
    others = np.setdiff1d(xmap.phase_id, (-1, *classes)).tolist()
    if others:
        raise ValueError(
            f"The crystal map has the phase IDs {others}, which are not among the {classes.plural} "
            f"{classes.ids}: pass the classes of the model that made the map"
        )
    if isinstance(classes, LabelClasses):
        for phase_id, phase in xmap.phases_in_data:
            if phase_id == -1:
                continue
            name = classes.names[classes.index(phase_id)]
            if phase.name != name:
                raise ValueError(
                    f"Phase {phase_id} of the crystal map is {phase.name!r}, but {name!r} in the "
                    f"classes {classes.names}: pass the classes of the model that made the map, "
                    f"and give no property of your own a name like {classes.properties[0]!r}"
                )


def summary_table(xmap: CrystalMap, classes: Classes) -> str:
    """Return a table of how many points were given each class.

    Parameters
    ----------
    xmap
        Crystal map with the property "scores". Points not in data are
        not counted.
    classes
        Classes of the model, each of which gets a row.

    Returns
    -------
    table
        Lines of aligned text without a line break at the end.

    Raises
    ------
    ValueError
        If an indexed point is not of one of the classes.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> import kikuchipy_cnn
    >>> s = kp.data.nickel_ebsd_small()
    >>> xmap = s.classify_space_group(
    ...     "fast_fewshot", show_progressbar=False
    ... )
    Space group classification information:
    ...
    >>> from kikuchipy_cnn.crystal_map import summary_table
    >>> model = kikuchipy_cnn.load_model("fast_fewshot")
    >>> print(summary_table(xmap, model.classes))
    Space group    No.    Points    Fraction    Mean score
    ...
    """
    phase_id = xmap.phase_id
    check_phase_ids(xmap, classes)

    def row(
        label: str, number: int | None, selected: np.ndarray, *, with_score: bool
    ) -> tuple[str, ...]:
        count = np.count_nonzero(selected)
        fraction = f"{count / max(xmap.size, 1):.1%}"
        score = f"{xmap.prop['scores'][selected].mean():.3f}" if with_score and count else "-"
        return label, str(number or "-"), str(count), fraction, score

    number_heading = "No." if isinstance(classes, SpaceGroupClasses) else "Space group"
    rows = [(classes.noun.capitalize(), number_heading, "Points", "Fraction", "Mean score")]
    for i, name, number in zip(classes.ids, classes.names, classes.space_groups, strict=True):
        rows.append(row(name, number, phase_id == i, with_score=True))
    rows.append(row("not indexed", None, phase_id == -1, with_score=False))
    return aligned(rows)


def _checked_shape(
    navigation_shape: tuple[int, ...], step_sizes: tuple[float, ...] | None
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    shape = tuple(int(i) for i in navigation_shape)
    if len(shape) > 2 or any(i < 1 for i in shape):
        raise ValueError(
            f"Navigation shape {shape} must have at most two dimensions, none of them empty"
        )
    steps = (1,) * len(shape) if step_sizes is None else tuple(step_sizes)
    if len(steps) != len(shape):
        raise ValueError(f"Step sizes {steps} must be one for each of the dimensions {shape}")
    if not all(np.isfinite(i) and i > 0 for i in steps):
        raise ValueError(f"Step sizes {steps} must be positive")
    # orix takes an empty shape for "not given", and makes a map of shape (5, 10)
    return shape or (1,), steps or (1,)


def _checked_is_in_data(is_in_data: np.ndarray | None, map_shape: tuple[int, ...]) -> np.ndarray:
    size = int(np.prod(map_shape))
    if is_in_data is None:
        return np.ones(size, dtype=bool)
    is_in_data = np.atleast_1d(np.asarray(is_in_data, dtype=bool))
    if is_in_data.shape not in [map_shape, (size,)]:
        raise ValueError(
            f"Shape {is_in_data.shape} of is_in_data must be {map_shape}, or ({size},) flattened"
        )
    if not is_in_data.any():
        raise ValueError("is_in_data must be True in at least one point, but is False in all")
    # orix keeps the array, which must not be the caller's
    return is_in_data.flatten()


def _checked_rows(probabilities: np.ndarray, indexed: np.ndarray) -> np.ndarray:
    probabilities = probabilities.astype(np.result_type(probabilities.dtype, np.float32))
    unknown = ~np.isfinite(probabilities).all(axis=1) & ~indexed
    probabilities[unknown] = 1 / probabilities.shape[1]
    # Written so that NaN is found too
    valid = (probabilities >= 0).all(axis=1)
    valid &= np.abs(probabilities.sum(axis=1) - 1) <= _SUM_TOLERANCE
    if not valid.all():
        first = int(np.argmin(valid))
        raise ValueError(
            f"Probabilities {probabilities[first].tolist()} in row {first} must be at least 0 and "
            "sum to 1: apply softmax to a network's logits, and mark points without a solution as "
            "not indexed"
        )
    return probabilities


def _rotations_in_data(rotations: Rotation, in_data: np.ndarray) -> np.ndarray:
    if not isinstance(rotations, Rotation):
        raise TypeError(f"Rotations must be of type {Rotation}, not {type(rotations)}")
    n_in_data = np.count_nonzero(in_data)
    if rotations.ndim not in (1, 2) or rotations.shape[0] not in (in_data.size, n_in_data):
        raise ValueError(
            f"Rotations of shape {rotations.shape} must be of shape (n,) or (n, m), where n is "
            f"the number of points {in_data.size} or of points in data {n_in_data}"
        )
    quaternions = rotations.data if rotations.ndim == 1 else rotations.data[:, 0]
    return quaternions[in_data] if len(quaternions) == in_data.size else quaternions
