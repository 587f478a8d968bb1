# SPDX-License-Identifier: GPL-3.0-or-later

"""Models of some of the space groups that another model knows."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

from kikuchipy_cnn.models.acceleration import in_precision
from kikuchipy_cnn.models.architectures import build_network
from kikuchipy_cnn.models.bundle import ModelBundle
from kikuchipy_cnn.models.ensemble import Ensemble
from kikuchipy_cnn.space_groups import SpaceGroupClasses


def select_space_groups(model: ModelBundle, space_groups: Sequence[int]) -> ModelBundle:
    """Make a model that chooses among some of another one's space groups only.

    Its probabilities are those of the other model under the condition that one of these space
    groups is right. Where the sample holds none of the others, this makes fewer errors; where it
    does, their patterns are given to one of these.

    Parameters
    ----------
    model
        Model of space groups.
    space_groups
        Numbers of at least two of them, in ascending order.

    Returns
    -------
    model
        Model of the same name, temperature and training, with a network of its own. It rejects no
        pattern, as what is outside its classes is another question now.

    Raises
    ------
    ValueError
        If the model is an ensemble, its classes are no space groups, or some of the numbers are not
        among them.

    Examples
    --------
    >>> from kikuchipy_cnn.models import load_model, select_space_groups
    >>> model = load_model("fast_fewshot")
    >>> fcc_or_bcc = select_space_groups(model, (225, 229))
    >>> fcc_or_bcc.classes.hermann_mauguin
    ('Fm-3m', 'Im-3m')
    """
    if isinstance(model, Ensemble):
        raise ValueError(
            f"{model.name!r} is an ensemble. Select the space groups of each of its members, and "
            "make an Ensemble of these."
        )
    if not isinstance(model.classes, SpaceGroupClasses):
        raise ValueError(
            f"The classes of {model.name}, {', '.join(model.classes.names)}, are no space groups."
        )
    classes = SpaceGroupClasses(tuple(space_groups))
    columns = [model.classes.index(number) for number in classes]
    with in_precision(model.network.dtype_policy.name):
        network = build_network(model.architecture, model.network.input_shape[1:], len(classes))
    *others, kernel, bias = model.network.get_weights()
    network.set_weights([*others, kernel[:, columns], bias[columns]])
    note = f"This model chooses among {', '.join(classes.names)} only. The network's card follows."
    return replace(
        model,
        network=network,
        classes=classes,
        card=f"{note}\n\n{model.card}" if model.card else "",
        training=copy.deepcopy(model.training),
        detector=None,
        rejection=None,
    )
