# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user should know of a model that was trained on labelled patterns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kikuchipy_cnn.models import ModelBundle


def write_card(bundle: ModelBundle, history: list[dict]) -> str:
    """Write the card of a trained model, in Markdown.

    Parameters
    ----------
    bundle
        Model with the record of its training.
    history
        Its course, epoch by epoch.

    Returns
    -------
    card
        Text of the card.
    """
    record = bundle.training
    protocol = record["protocol"]
    best = history[record["best_epoch"] - 1]
    size = bundle.transform.size
    materials = "\n".join(
        f"| {number} | {name} | {n} |"
        for (number, name), n in zip(record["materials"], record["training_patterns"], strict=True)
    )
    settings = "\n".join(f"| {name} | {value} |" for name, value in protocol.items())
    return f"""# {bundle.name}

{bundle.architecture} for {size} x {size} pixels, {bundle.network.input_shape[-1]} channel(s), which
tells apart ({record["level"]}): {", ".join(bundle.classes.names)}. Weights to begin with:
{record["start"]["weights"]}. Seed {record["seed"]}.

## Data

| space group | material | training patterns |
|---|---|---|
{materials}

Beside these, {record["validation_patterns"]} patterns for validation.

## Protocol

| setting | value |
|---|---|
{settings}

{record["epochs"]} epochs ({record["stopped"]}); the weights are those of epoch {best["epoch"]}.

## Figures

On the validation patterns, by which the weights were chosen: loss {best["val_loss"]:.3f},
accuracy {best["val_accuracy"]:.3f}. Probabilities are calibrated on the same patterns (temperature
{bundle.temperature:.3f}). Neither says how well the model does on new materials, maps or
microscopes: judge it on patterns of these, with `kikuchipy-cnn evaluate`.
"""
