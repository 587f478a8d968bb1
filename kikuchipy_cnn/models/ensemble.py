# SPDX-License-Identifier: GPL-3.0-or-later

"""Several networks that answer together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.special import softmax

from kikuchipy_cnn.label_classes import LabelClasses
from kikuchipy_cnn.models._folder import (
    CARD,
    JSON,
    BundleError,
    parse_description,
    read_description,
    read_parts,
    with_description,
    write_folder,
)
from kikuchipy_cnn.models.bundle import ModelBundle, Outputs, bundle_of, description_of
from kikuchipy_cnn.preprocessing import PatternTransform
from kikuchipy_cnn.space_groups import SpaceGroupClasses
from kikuchipy_cnn.uncertainty.measures import mutual_information, spread
from kikuchipy_cnn.uncertainty.rejection import Rejection

_LEAST_MEMBERS = 2


@dataclass
class Ensemble:
    """Networks whose mean is the answer, and whose disagreement is doubt.

    Deep ensembles are those of Lakshminarayanan et al., NeurIPS 2017. The probabilities are the
    mean of the members', calibrated once more: a mean is less sure than its parts (Rahaman and
    Thiery, NeurIPS 2021).

    Parameters
    ----------
    name
        Name of the model.
    members
        At least two models of the same classes in the same order, and of the same preprocessing.
        All are kept in memory.
    temperature
        Number by which the logarithms of the mean probabilities are divided.
    card
        What a user should know of the model, in Markdown.
    training
        How it came about, ready for JSON.
    rejection
        When no answer is given. If not given, limits are the means of the members', if all have
        some.

    Raises
    ------
    ValueError
        If there are fewer than two members, or they do not fit together.

    Examples
    --------
    >>> from kikuchipy_cnn.models import (
    ...     Ensemble, load_model, select_space_groups
    ... )
    >>> first = load_model("fast_fewshot")
    >>> second = select_space_groups(
    ...     load_model("fast_fewshot_ten"), first.classes.numbers
    ... )
    >>> ensemble = Ensemble("two", (first, second))
    >>> ensemble
    Ensemble('two', 2 members: fast_fewshot, fast_fewshot_ten)
    >>> ensemble.architecture
    '2 x xception_narrow'
    """

    name: str
    members: tuple[ModelBundle, ...]
    temperature: float = 1.0
    card: str = ""
    training: dict = field(default_factory=dict)
    rejection: Rejection | None = None

    def __post_init__(self) -> None:
        self.members = tuple(self.members)
        if len(self.members) < _LEAST_MEMBERS:
            raise ValueError(f"An ensemble of {len(self.members)} model(s); give at least 2.")
        first = self.members[0]
        for member in self.members[1:]:
            if member.classes != first.classes:
                raise ValueError(
                    f"{first.name!r} tells apart {', '.join(first.classes.names)}, but "
                    f"{member.name!r} {', '.join(member.classes.names)}. Give models of the same "
                    "classes; select_space_groups() may help."
                )
            if member.transform != first.transform:
                raise ValueError(
                    f"{first.name!r} preprocesses patterns with {first.transform}, but "
                    f"{member.name!r} with {member.transform}. Give models that see them alike."
                )
        if not 0 < self.temperature < np.inf:
            raise ValueError(f"temperature={self.temperature}, but it must be positive and finite.")

    def __repr__(self) -> str:
        names = ", ".join(member.name for member in self.members)
        return f"Ensemble({self.name!r}, {len(self.members)} members: {names})"

    @property
    def classes(self) -> SpaceGroupClasses | LabelClasses:
        """Classes of all members."""
        return self.members[0].classes

    @property
    def transform(self) -> PatternTransform:
        """Preprocessing of all members."""
        return self.members[0].transform

    @property
    def architecture(self) -> str:
        """Number and architectures of the members."""
        kinds = sorted({member.architecture for member in self.members})
        return f"{len(self.members)} x {' or '.join(kinds)}"

    @property
    def trained_materials(self) -> frozenset[tuple[int, str]] | None:
        """Space group and name of the materials that any member has learned from."""
        each = [member.trained_materials for member in self.members]
        return None if None in each else frozenset().union(*each)

    def outputs(self, images: np.ndarray) -> Outputs:
        """Classify preprocessed patterns.

        Parameters
        ----------
        images
            Output of :attr:`transform`, of shape (n, size, size, 1) and data type float32.

        Returns
        -------
        outputs
            Probabilities and kinds, what the members do not agree on, and their spread. The kinds
            are the mean of those of the members that have a detector.
        """
        return self.outputs_of([member.outputs(images) for member in self.members])

    def outputs_of(self, each: Sequence[Outputs]) -> Outputs:
        """Combine what the members say.

        Parameters
        ----------
        each
            Outputs of each member.

        Returns
        -------
        outputs
            As :meth:`outputs` returns them.
        """
        probabilities = np.stack([outputs.probabilities for outputs in each])
        kinds = [outputs.kinds for outputs in each if outputs.kinds is not None]
        return Outputs(
            self.combined(probabilities),
            np.mean(kinds, axis=0) if kinds else None,
            mutual_information(probabilities).astype(np.float32),
            spread(probabilities).astype(np.float32),
        )

    def predict_probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities of :meth:`outputs`.

        Parameters
        ----------
        images
            As for :meth:`outputs`.

        Returns
        -------
        probabilities
            Calibrated probabilities of shape (n, classes) and data type float32.
        """
        each = [member.predict_probabilities(images) for member in self.members]
        return self.combined(np.array(each))

    def combined(self, probabilities: np.ndarray) -> np.ndarray:
        """Combine the members' probabilities.

        Parameters
        ----------
        probabilities
            Calibrated probabilities of each member, of shape (members, n, classes).

        Returns
        -------
        probabilities
            Calibrated mean of shape (n, classes) and data type float32.
        """
        mean = np.asarray(probabilities, np.float64).mean(axis=0)
        logits = np.log(np.maximum(mean, np.finfo(np.float32).tiny))
        return softmax(logits / self.temperature, axis=1).astype(np.float32)

    def save(self, folder: str | os.PathLike, overwrite: bool = False) -> Path:
        """Write the ensemble and its members to a folder.

        Parameters
        ----------
        folder
            Folder to make.
        overwrite
            Whether to replace a bundle of this name.

        Returns
        -------
        folder
            Where the bundle lies, with a folder for each member.

        Raises
        ------
        FileExistsError
            If the folder exists and is not to be replaced, or is something else than a bundle.
        """
        return write_folder(folder, self.contents(), overwrite)

    def contents(self) -> dict[str, bytes]:
        """Return the files of the bundle by name.

        Returns
        -------
        contents
            What is to be written to each file.
        """
        folders = [str(i) for i in range(len(self.members))]
        contents = {CARD: self.card.encode()}
        for name, member in zip(folders, self.members, strict=True):
            contents |= {f"{name}/{file}": data for file, data in member.contents().items()}
        shape = self.members[0].network.input_shape[1:]
        return with_description(description_of(self, shape) | {"members": folders}, contents)


def load_bundle(folder: str | os.PathLike, sha256: str | None = None) -> ModelBundle | Ensemble:
    """Read a model from a folder.

    Parameters
    ----------
    folder
        Folder that :meth:`ModelBundle.save` or :meth:`Ensemble.save` wrote.
    sha256
        Expected SHA-256 of its ``bundle.json``. If not given, only the other files are checked,
        against the sums in ``bundle.json``.

    Returns
    -------
    model
        Network, or networks, and all that belongs to them. No code of the bundle is run.

    Raises
    ------
    BundleError
        If the folder is no bundle, was altered, or needs another version of this package.

    Examples
    --------
    >>> from kikuchipy_cnn.models import load_bundle, load_model
    >>> folder = load_model("fast_fewshot").save("my_model")
    >>> load_bundle("my_model").name
    'fast_fewshot'
    """
    description = read_description(folder, sha256)
    contents = read_parts(folder, description)
    if "members" not in description:
        return bundle_of(description, contents, folder)
    return _ensemble_of(description, contents, Path(folder))


def _ensemble_of(description: Mapping, contents: Mapping[str, bytes], folder: Path) -> Ensemble:
    try:
        rejection = description["rejection"]
        members = []
        for name in description["members"]:
            own = {
                file.removeprefix(f"{name}/"): content
                for file, content in contents.items()
                if file.startswith(f"{name}/")
            }
            of_member = parse_description(own[JSON], folder / name / JSON)
            members.append(bundle_of(of_member, own, folder / name))
        return Ensemble(
            description["name"],
            tuple(members),
            float(description["temperature"]),
            contents[CARD].decode(),
            description["training"],
            None if rejection is None else Rejection.from_dict(rejection),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder} is no usable ensemble: {error}") from error


def members_of(model: ModelBundle | Ensemble) -> tuple[ModelBundle, ...]:
    """Networks of a model, which may be one."""
    return model.members if isinstance(model, Ensemble) else (model,)


def probabilities_of(model: ModelBundle | Ensemble, logits: Sequence[np.ndarray]) -> np.ndarray:
    """Calibrated probabilities of a model, of shape (n, classes).

    Parameters
    ----------
    model
        Model.
    logits
        Those of each of its networks, of shape (n, classes).
    """
    each = [
        member.calibrated(of_member)
        for member, of_member in zip(members_of(model), logits, strict=True)
    ]
    return model.combined(np.array(each)) if isinstance(model, Ensemble) else each[0]


def joined(models: Sequence[ModelBundle | Ensemble]) -> Ensemble:
    """Make an ensemble of models that were given one by one.

    Parameters
    ----------
    models
        Models of the same classes; those of an ensemble become members one by one.

    Returns
    -------
    ensemble
        Ensemble without a calibration of its own. Where all models reject, the threshold for a
        risk is the mean of theirs.

    Raises
    ------
    ValueError
        If one of them is an ensemble that was calibrated as a whole, and as :class:`Ensemble` does.
    """
    for model in models:
        if isinstance(model, Ensemble) and (model.rejection or model.temperature != 1):
            raise ValueError(
                f"{model.name!r} is an ensemble that was calibrated as a whole, which does not "
                "hold for its members beside other models. Use it alone, or list its members: "
                f"load_model({model.name!r}).members"
            )
    members = tuple(member for model in models for member in members_of(model))
    return Ensemble(" + ".join(model.name for model in models), members)
