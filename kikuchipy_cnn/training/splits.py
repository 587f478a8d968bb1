# SPDX-License-Identifier: GPL-3.0-or-later

"""Division of patterns into those to train on, to stop the training with, and to test with."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kikuchipy_cnn._checks import check_integer
from kikuchipy_cnn._tables import aligned
from kikuchipy_cnn.space_groups import label_text
from kikuchipy_cnn.training.labelled import LabelledPatterns

# What a test shows depends on what its patterns do not share with those of the training.
CLAIMS = {
    "pattern": "new patterns",
    "grain": "new grains",
    "map": "new maps",
    "material": "new materials",
}

_N_NAMED = 3
_REMEDY = "Ask for fewer, pass allow_fewer=True to take what there is, or add patterns."


@dataclass(frozen=True, eq=False)
class Split:
    """Patterns to train on, to stop the training with, and to test with.

    Parameters
    ----------
    training
        Patterns that the weights are fitted to.
    validation
        Patterns that tell when to stop, and that confidences are calibrated with.
    test
        Patterns to report figures of.
    claims
        What the test shows the behaviour on: ``"new patterns"``, ``"new grains"``, ``"new maps"``
        or ``"new materials"``. A grain is one of a map, and a map one of a material.

    Raises
    ------
    ValueError
        If there is no such claim.

    Warns
    -----
    UserWarning
        If something claimed to be new in the test is also in the training or the validation.

    Examples
    --------
    >>> from kikuchipy_cnn.training import LabelledPatterns, split_patterns
    >>> patterns = LabelledPatterns.from_simulation(
    ...     ["Ni", "W"], 10, show_progressbar=False
    ... )
    >>> split = split_patterns(patterns, n_training=6, n_validation=2)
    >>> split.claims
    'new patterns'
    >>> print(split.table())
    space group  material  training  validation  test
    ...
    """

    training: LabelledPatterns
    validation: LabelledPatterns
    test: LabelledPatterns
    claims: str

    def __post_init__(self) -> None:
        check_claims(self.claims)
        unit = next(unit for unit, claim in CLAIMS.items() if claim == self.claims)
        tested = _groups(self.test, unit)
        seen = _groups(self.training, unit).keys() | _groups(self.validation, unit).keys()
        shared = [key for key in tested if key in seen]
        if shared:
            named = "; ".join(
                _describe(self.test, tested[key][0], unit) for key in shared[:_N_NAMED]
            )
            more = "" if len(shared) <= _N_NAMED else f" and {len(shared) - _N_NAMED} more"
            warnings.warn(
                f"The split claims {self.claims}, but {len(shared)} of {len(tested)} {unit}(s) of "
                f"the test are also in the training or validation: {named}{more}. The test does "
                f"not show what happens on {self.claims}. split_patterns(by={unit!r}) keeps them "
                "apart.",
                # Called by the __init__ that dataclass makes.
                stacklevel=3,
            )

    def table(self) -> str:
        """Return the numbers of patterns by space group and material.

        Returns
        -------
        table
            Text in columns, with the sums in the last line.
        """
        parts = (self.training, self.validation, self.test)
        counts = [part.counts() for part in parts]
        rows = [("space group", "material", "training", "validation", "test")]
        for pair in sorted(set().union(*counts)):
            number, material = pair
            numbers = (str(count.get(pair, 0)) for count in counts)
            rows.append((label_text(number), material, *numbers))
        rows.append(("total", "", *(str(len(part)) for part in parts)))
        return aligned(rows, n_left=2)


def check_claims(claims: str) -> None:
    """Raise ValueError if a test cannot claim this.

    Parameters
    ----------
    claims
        What the patterns of the test are said to be.
    """
    if claims not in CLAIMS.values():
        raise ValueError(
            f"claims={claims!r} must be one of {', '.join(map(repr, CLAIMS.values()))}."
        )


def split_patterns(
    patterns: LabelledPatterns,
    n_training: int = 400,
    n_validation: int = 100,
    by: str = "pattern",
    *,
    level: str = "space group",
    held_out: Sequence[str | tuple[int, str]] | None = None,
    test_fraction: float = 0.5,
    seed: int = 0,
    allow_fewer: bool = False,
) -> Split:
    """Divide patterns at random into training, validation and test.

    The default is the protocol of :cite:`kaufmann2021efficient`: as many patterns of each class,
    divided evenly over its materials, and all others to test with. Patterns of one grain or map
    hardly differ, so that such a test says little about others: *by* keeps them apart.

    Parameters
    ----------
    patterns
        Patterns of known phase.
    n_training, n_validation
        Number of patterns of each class to train on, and to stop the training with.
    by
        What is in the test or in the training, but never in both:

        - ``"pattern"``: All patterns that are not drawn for training or validation are the test.
        - ``"material"``: The test are all patterns of the materials *held_out*, and nothing else.
          Patterns of the other materials that are not drawn are left out.
        - ``"map"`` or ``"grain"``: Each one goes to training, validation or test as a whole. The
          test are all patterns of its maps or grains. From the others, patterns are drawn as evenly
          as possible over the maps or grains, and the rest of these is left out. Every material has
          part in the training first and in the test last.
    level
        What the classes are, as for
        :meth:`~kikuchipy_cnn.training.LabelledPatterns.labels`.
    held_out
        Materials to test with, by name, or by space group and name; for ``by="material"`` only.
    test_fraction
        Part of the maps or grains of each class to test with, at least one; for ``by="map"`` and
        ``by="grain"`` only.
    seed
        Seed of the random numbers. What is drawn of a class does not depend on the other classes.
    allow_fewer
        Whether to take what there is where there is less than asked for. What a material lacks is
        taken from the other ones of its class; what the class lacks is missing from training and
        validation alike. With ``by="pattern"``, nothing of these is left to test with.

    Returns
    -------
    split
        Patterns of the three parts, each in the order of *patterns*.

    Raises
    ------
    ValueError
        If there are fewer patterns, maps or grains than needed, a pattern's grain is not known, or
        an argument is not valid.

    Examples
    --------
    >>> from kikuchipy_cnn.training import LabelledPatterns, split_patterns
    >>> patterns = LabelledPatterns.from_simulation(
    ...     ["Ni", "Al", "W"], 10, show_progressbar=False
    ... )
    >>> split = split_patterns(
    ...     patterns,
    ...     n_training=6,
    ...     n_validation=2,
    ...     by="material",
    ...     held_out=["Al"],
    ... )
    >>> split.training.counts()
    {(225, 'Ni'): 6, (229, 'W'): 6}
    >>> split.test.counts(), split.claims
    ({(225, 'Al'): 10}, 'new materials')
    """
    if by not in CLAIMS:
        raise ValueError(f"by={by!r} must be one of {', '.join(map(repr, CLAIMS))}.")
    check_integer("n_training", n_training, 1)
    check_integer(
        "n_validation", n_validation, 1, ": without validation patterns, nothing tells when to stop"
    )
    check_integer("seed", seed, 0)
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction={test_fraction} must be between 0 and 1.")
    if (by == "material") != (held_out is not None):
        raise ValueError(
            f"by={by!r} with held_out={held_out!r}: give the names of materials to test with, and "
            "give them for by='material' only. leave_material_out() holds out one after the other."
        )
    classes = _classes(patterns, level, "material" if by == "pattern" else by)
    out = _held_out_materials(patterns, held_out or ())
    if by == "grain":
        _check_grains(patterns)

    draw = _Draw(n_training, n_validation, seed, allow_fewer)
    parts = [], [], []
    for label, groups in classes.items():
        name = f"{level} {label}"
        if by in ("map", "grain"):
            drawn = draw.from_groups(groups, name, by, test_fraction)
        else:
            trained = {key: indices for key, indices in groups.items() if key not in out}
            if not trained:
                raise ValueError(
                    f"held_out takes all materials of {name} "
                    f"({', '.join(material for _, material in groups)}), which leaves none to "
                    "train on. Hold out fewer."
                )
            *drawn, rest = draw.from_materials(trained, name)
            drawn.append(rest if by == "pattern" else [groups[i] for i in groups if i in out])
        for part, indices in zip(parts, drawn, strict=True):
            part.extend(indices)
    return Split(
        *(patterns.take(np.sort(np.concatenate([np.empty(0, int), *part]))) for part in parts),
        claims=CLAIMS[by],
    )


def leave_material_out(
    patterns: LabelledPatterns,
    n_folds: int | None = None,
    *,
    level: str = "space group",
    n_training: int = 400,
    n_validation: int = 100,
    seed: int = 0,
    allow_fewer: bool = False,
) -> Iterator[Split]:
    """Hold out one material of each class after the other.

    A class with a single material is trained on in all folds and tested in none.

    Parameters
    ----------
    patterns
        Patterns of known phase.
    n_folds
        Number of folds. If not given, that of the materials of the class with most, so that every
        material with a companion in its class is held out at least once. Classes with fewer
        materials start anew when all were held out.
    level, n_training, n_validation, seed, allow_fewer
        As for :func:`split_patterns`. The seed also decides in which order materials are held out.

    Returns
    -------
    splits
        One split for each fold, which claims new materials.

    Raises
    ------
    ValueError
        If no class has two materials, *n_folds* is not from one to the number of materials of the
        class with most, or there are fewer patterns than needed in any fold.

    Examples
    --------
    >>> from kikuchipy_cnn import training
    >>> patterns = training.LabelledPatterns.from_simulation(
    ...     ["Ni", "Al", "W"], 10, show_progressbar=False
    ... )
    >>> splits = training.leave_material_out(
    ...     patterns, n_training=6, n_validation=2
    ... )
    >>> sorted(key for split in splits for key in split.test.counts())
    [(225, 'Al'), (225, 'Ni')]
    """
    check_integer("seed", seed, 0)
    orders = []
    for label, materials in _classes(patterns, level, "material").items():
        if len(materials) > 1:
            order = _rng(seed, "order", label).permutation(len(materials))
            orders.append([list(materials)[i] for i in order])
    if not orders:
        raise ValueError(
            f"No {level} has two materials, so none can be held out: give more materials. "
            "split_patterns() tests with other patterns, grains or maps of the same materials."
        )
    most = max(map(len, orders))
    if n_folds is None:
        n_folds = most
    if not 1 <= n_folds <= most:
        raise ValueError(
            f"n_folds={n_folds} must be from 1 to {most}, the number of materials of the {level} "
            "with most."
        )
    # All at once: what is wrong with the last fold shall not show after the training of the others.
    return iter(
        [
            split_patterns(
                patterns,
                n_training,
                n_validation,
                "material",
                level=level,
                held_out=[order[fold % len(order)] for order in orders],
                seed=seed,
                allow_fewer=allow_fewer,
            )
            for fold in range(n_folds)
        ]
    )


@dataclass(frozen=True)
class _Draw:
    """Drawing of the patterns of one class after the other."""

    n_training: int
    n_validation: int
    seed: int
    allow_fewer: bool

    def from_materials(self, materials: dict[tuple, np.ndarray], name: str) -> tuple[list, ...]:
        """Lists of indices for training and validation, and of the rest, one of each material."""
        available = np.array([len(indices) for indices in materials.values()])
        wanted, total = self.n_training + self.n_validation, int(available.sum())
        asked = f"n_training={self.n_training} and n_validation={self.n_validation}"
        if not self.allow_fewer:
            if total < wanted:
                raise ValueError(
                    f"There are {total} patterns of {name}, but {asked} ask for {wanted}. {_REMEDY}"
                )
            even = even_shares(np.full(len(available), wanted), wanted)
            for (_, material), there, share in zip(materials, available, even, strict=True):
                if there < share:
                    raise ValueError(
                        f"There are {there} patterns of material {material!r} of {name}, but its "
                        f"even share of {asked} is {share}. {_REMEDY}"
                    )
        elif total < 2:
            raise ValueError(
                f"There is one pattern of {name}, but training and validation need one each. Add "
                "patterns."
            )
        taken, n_validation = min(wanted, total), self.n_validation
        if taken < wanted:
            n_validation = int(np.clip(round(taken * n_validation / wanted), 1, taken - 1))
        shares = even_shares(available, taken)
        parts = [], [], []
        for key, share, n in zip(
            materials, shares, _proportional(shares, n_validation), strict=True
        ):
            shuffled = self._shuffled(key, materials[key])
            for part, indices in zip(parts, np.split(shuffled, [share - n, share]), strict=True):
                part.append(indices)
        return parts

    def from_groups(
        self, groups: dict[tuple, np.ndarray], name: str, unit: str, test_fraction: float
    ) -> tuple[list, ...]:
        """Lists of indices for training, validation and test, one of each map or grain."""
        n = len(groups)
        if n < 3:
            raise ValueError(
                f"Of {name} there are patterns of {n} {unit}(s), but training, validation and test "
                f"need one each. Add {unit}s, or choose another by."
            )
        ordered = self._in_turns(groups)
        n_test = int(np.clip(round(test_fraction * n), 1, n - 2))
        fraction = self.n_validation / (self.n_training + self.n_validation)
        n_validation = int(np.clip(round(fraction * (n - n_test)), 1, n - n_test - 1))
        n_training = n - n_test - n_validation
        training, validation = ordered[:n_training], ordered[n_training : n - n_test]
        return (
            self._evenly(training, "training", self.n_training, name, unit),
            self._evenly(validation, "validation", self.n_validation, name, unit),
            [indices for _, indices in ordered[n - n_test :]],
        )

    def _in_turns(self, groups: dict[tuple, np.ndarray]) -> list[tuple[tuple, np.ndarray]]:
        """Shuffled groups, those of each material spread from the beginning on."""
        items = list(groups.items())
        items = [items[i] for i in _rng(self.seed, "order", *groups).permutation(len(items))]
        sizes, before = Counter(key[:2] for key, _ in items), Counter()
        positions = []
        for key, _ in items:
            positions.append(before[key[:2]] / sizes[key[:2]])
            before[key[:2]] += 1
        return [items[i] for i in np.argsort(positions, kind="stable")]

    def _evenly(
        self, groups: list[tuple[tuple, np.ndarray]], part: str, n: int, name: str, unit: str
    ) -> list[np.ndarray]:
        """Indices for one part, of each of its groups."""
        available = np.array([len(indices) for _, indices in groups])
        if available.sum() < n and not self.allow_fewer:
            raise ValueError(
                f"The {len(groups)} {unit}(s) drawn for {part} of {name} have {available.sum()} "
                f"patterns, but n_{part}={n} are asked for. {_REMEDY} Another seed or "
                "test_fraction draws others."
            )
        shares = even_shares(available, n)
        return [
            self._shuffled(key, indices)[:share]
            for (key, indices), share in zip(groups, shares, strict=True)
        ]

    def _shuffled(self, key: tuple, indices: np.ndarray) -> np.ndarray:
        return _rng(self.seed, *key).permutation(indices)


def even_shares(available: np.ndarray, n: int) -> np.ndarray:
    """Divide a number evenly, as far as there is; the first ones get what is left over.

    Parameters
    ----------
    available
        How many there are in each place, of shape (n,).
    n
        Number to divide.

    Returns
    -------
    shares
        Integers of shape (n,), with the sum *n* if there are so many.
    """
    shares = np.zeros(len(available), int)
    while (missing := min(n, available.sum()) - shares.sum()) > 0:
        able = np.flatnonzero(shares < available)[:missing]
        shares[able] = np.minimum(shares[able] + missing // len(able), available[able])
    return shares


def _proportional(shares: np.ndarray, n: int) -> np.ndarray:
    """Divide a number in proportion to shares, by the largest remainders."""
    parts, remainders = np.divmod(shares * n, shares.sum())
    parts[np.argsort(-remainders, kind="stable")[: n - parts.sum()]] += 1
    return parts


def _groups(patterns: LabelledPatterns, unit: str) -> dict[tuple, np.ndarray]:
    """Indices of the patterns of each material, map or grain, or of what is the same pattern."""
    if unit == "pattern":
        sources = (id(patterns.sources[i]) for i in patterns.source.tolist())
        keys = zip(sources, patterns.index.tolist(), strict=True)
    else:
        names = ("space_group", "material", "map_name", "grain")
        n = 2 + ("material", "map", "grain").index(unit)
        keys = zip(*(getattr(patterns, name).tolist() for name in names[:n]), strict=True)
    groups: dict[tuple, list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    return {key: np.array(indices) for key, indices in groups.items()}


def _classes(
    patterns: LabelledPatterns, level: str, unit: str
) -> dict[int | str, dict[tuple, np.ndarray]]:
    """Indices of the patterns of each class by material, map or grain, in ascending order."""
    labels = patterns.labels(level).tolist()
    classes: dict[int | str, dict[tuple, np.ndarray]] = {}
    for key, indices in sorted(_groups(patterns, unit).items(), key=lambda item: item[0]):
        classes.setdefault(labels[indices[0]], {})[key] = indices
    return classes


def _describe(patterns: LabelledPatterns, i: int, unit: str) -> str:
    text = f"{patterns.material[i]} ({patterns.space_group[i]})"
    if unit != "material":
        text += f", map {patterns.map_name[i]!r}"
    if unit == "grain":
        text += f", grain {patterns.grain[i]!r}"
    if unit == "pattern":
        text += f", pattern {patterns.index[i]}"
    return text


def _held_out_materials(
    patterns: LabelledPatterns, held_out: Sequence[str | tuple[int, str]]
) -> set[tuple[int, str]]:
    """Space groups and names of the materials named."""
    known = patterns.counts()
    found: set[tuple[int, str]] = set()
    for given in [held_out] if isinstance(held_out, str) else held_out:
        named = {key for key in known if given in (key[1], key)}
        if not named:
            there = ", ".join(f"{material} ({number})" for number, material in known)
            raise ValueError(
                f"held_out names {given!r}, but there are no patterns of it. There are: {there}. "
                "Give names, or (space group, name)."
            )
        found |= named
    return found


def _check_grains(patterns: LabelledPatterns) -> None:
    unknown = np.flatnonzero(patterns.grain == "")
    if len(unknown):
        raise ValueError(
            f"The grain of {len(unknown)} of {len(patterns)} patterns is not known, the first one "
            f"of {_describe(patterns, unknown[0], 'map')}. Name all grains, in a manifest in the "
            "column grain, or choose by='map'."
        )


def _rng(seed: int, *key) -> np.random.Generator:
    return np.random.default_rng([seed, *repr(key).encode()])
