# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands ``kikuchipy-cnn train`` and ``kikuchipy-cnn evaluate``."""

from __future__ import annotations

import argparse
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kikuchipy_cnn._files import check_destination, check_figure, save_figure

if TYPE_CHECKING:
    from kikuchipy_cnn.evaluation import Evaluation
    from kikuchipy_cnn.training import FewShotProtocol

# This and the other choices are written out, as the modules that have them take seconds to import,
# which a help text must not. A test compares them.
_LEVELS = ("phase", "space group", "centring", "Laue group")

_MANIFEST = (
    "CSV file with the columns file, space_group, material and, where wanted, map, grain, phase, "
    "number, seed; see docs/training.md"
)
_PREDICTIONS, _REPORT = "predictions.csv", "report.csv"
_FIGURES = (
    *("scores.png", "confusion.png", "confusion_by_material.png"),
    *("quality.png", "atomic_number.png", "orientations.png"),
)


def add_train_parsers(commands: argparse._SubParsersAction) -> None:
    """Add both commands to those of the program.

    Parameters
    ----------
    commands
        Sub-parsers of the program.
    """
    _add_train(commands)
    _add_evaluate(commands)


def _add_train(commands: argparse._SubParsersAction) -> None:
    train = commands.add_parser(
        "train",
        help="train a model on labelled patterns",
        description="Train a model on labelled patterns. A training that was broken off goes on "
        "where it stopped when the command is given again.",
        argument_default=argparse.SUPPRESS,
    )
    train.add_argument("manifest", type=Path, help=_MANIFEST)
    train.add_argument("--output", type=Path, required=True, help="folder for the model bundle")
    train.add_argument(
        "--start",
        default="xception_fewshot",
        help="packaged model, path of a bundle, scratch, imagenet, or path of Keras' ImageNet "
        "weights of Xception (.h5); default is %(default)s",
    )
    train.add_argument(
        "--level",
        default="space group",
        choices=_LEVELS,
        help="what to tell apart; default is %(default)s",
    )

    split = train.add_argument_group("split")
    split.add_argument(
        "--training", type=int, default=400, help="patterns of each class; default is %(default)s"
    )
    split.add_argument(
        "--validation",
        type=int,
        default=100,
        help="patterns of each class that tell when to stop; default is %(default)s",
    )
    split.add_argument(
        "--split-by",
        default="pattern",
        choices=("pattern", "grain", "map", "material"),
        help="what is never in the training and in the test; default is %(default)s",
    )
    split.add_argument(
        "--held-out", nargs="+", default=None, metavar="MATERIAL", help="for the test only"
    )
    split.add_argument(
        "--allow-fewer", action="store_true", default=False, help="take what there is of a class"
    )

    network = train.add_argument_group("network")
    network.add_argument(
        "--architecture",
        choices=("xception", "xception_narrow", "tiny"),
        help="to start from scratch with; default is xception",
    )
    network.add_argument("--size", type=int, help="side of the patterns in pixels")
    network.add_argument("--channels", type=int, choices=(1, 3), help="of the input")
    network.add_argument(
        "--new-head", action="store_true", help="start the last layer at random in any case"
    )
    _add_protocol(train)

    output = train.add_argument_group("output")
    output.add_argument("--history", type=Path, default=None, help=".csv file for the losses")
    output.add_argument("--figure", type=Path, default=None, help="file for the training curves")
    output.add_argument(
        "--evaluation", type=Path, default=None, help="folder for tables and figures of the test"
    )
    output.add_argument(
        "--work",
        type=Path,
        default=None,
        help="folder for the state; default is next to the output, and removed at the end",
    )
    output.add_argument("--tensorboard", type=Path, default=None, help="folder for logs")
    output.add_argument("--seed", type=int, default=0)
    output.add_argument("--overwrite", action="store_true", default=False, help="replace output")
    output.add_argument("--no-progress", action="store_true", default=False)
    train.set_defaults(run=_train)


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    """Options that have the names and, if not given, the values of the protocol's parameters."""
    group = parser.add_argument_group("protocol", "Defaults are the papers'.")
    group.add_argument("--learning-rate", type=float, help="default is 0.001")
    group.add_argument("--schedule", choices=("constant", "cosine"))
    group.add_argument("--weight-decay", type=float, help="default is 0.00001")
    group.add_argument("--batch-size", type=int, help="default is 32")
    group.add_argument("--max-epochs", type=int, help="default is 200")
    group.add_argument("--patience", type=int, help="epochs; default is 15")
    group.add_argument("--min-delta", type=float, help="of the validation loss; default is 0.001")
    group.add_argument("--trainable", choices=("all", "head"), help="weights; default is all")
    group.add_argument(
        "--statistics",
        choices=("moving", "retaken", "frozen"),
        help="of batches; default is frozen for a pretrained network and less than 300 patterns, "
        "else retaken",
    )
    group.add_argument(
        "--precision",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
        help="of the training; default is float32",
    )
    group.add_argument("--mirror", action="store_true", help="mirror every other pattern")
    group.add_argument(
        "--severity", type=float, help="of imperfections that are added, 0 to 1; default is 0"
    )


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="judge a model on labelled patterns",
        description="Judge a model on labelled patterns: predictions, precision and recall, "
        "figures.",
    )
    evaluate.add_argument("manifest", type=Path, help=_MANIFEST)
    evaluate.add_argument(
        "--output", type=Path, required=True, help="folder for tables and figures"
    )
    evaluate.add_argument(
        "--model",
        default="xception_fewshot",
        help="name of a packaged model or path of a bundle; default is %(default)s",
    )
    evaluate.add_argument(
        "--level",
        choices=_LEVELS,
        help="what to judge; default is what the model tells apart",
    )
    evaluate.add_argument(
        "--new-materials",
        action="store_true",
        help="warn if the model was trained on one of these materials",
    )
    evaluate.add_argument("--batch-size", type=int, help="patterns at once; default is to find it")
    evaluate.add_argument("--overwrite", action="store_true", help="replace existing files")
    evaluate.add_argument("--no-progress", action="store_true", help="show no progress bar")
    evaluate.set_defaults(run=_evaluate)


def _train(options: argparse.Namespace) -> None:
    from kikuchipy_cnn.evaluation import evaluate
    from kikuchipy_cnn.models._folder import check_bundle_folder
    from kikuchipy_cnn.training import FewShotTrainer, read_manifest, split_patterns
    from kikuchipy_cnn.training.checkpoint import remove_state
    from kikuchipy_cnn.training.splits import CLAIMS

    protocol = _protocol(options)
    network = {
        name: getattr(options, name)
        for name in ("architecture", "size", "channels", "new_head")
        if hasattr(options, name)
    }
    trainer = FewShotTrainer(
        options.start,
        protocol,
        level=options.level,
        name=options.output.name,
        seed=options.seed,
        **network,
    )
    # Everything that can fail without the patterns fails before they are read.
    check_bundle_folder(options.output, options.overwrite)
    if options.history is not None:
        check_destination(options.history, options.overwrite)
    if options.figure is not None:
        check_figure(options.figure, options.overwrite)
    if options.evaluation is not None:
        _check_folder(options.evaluation, options.overwrite)
        if options.output.resolve() in (options.evaluation / "x").resolve().parents:
            raise ValueError(
                f"'{options.evaluation}' for the evaluation lies in the model's folder "
                f"'{options.output}'. Give another one."
            )

    patterns = read_manifest(options.manifest, show_progressbar=not options.no_progress)
    split = split_patterns(
        patterns,
        options.training,
        options.validation,
        options.split_by,
        level=options.level,
        held_out=options.held_out,
        seed=options.seed,
        allow_fewer=options.allow_fewer,
    )
    print(split.table())
    work = options.work or options.output.with_name(f"{options.output.name}.training")
    result = trainer.fit(
        split.training,
        split.validation,
        work=work,
        tensorboard=options.tensorboard,
        show_progressbar=not options.no_progress,
    )
    best = result.history[result.best_epoch - 1]
    print(
        f"{len(result.history)} epochs ({result.stopped}); best is {result.best_epoch}: validation "
        f"loss {best['val_loss']:.3f}, accuracy {best['val_accuracy']:.3f}"
    )
    try:
        result.bundle.save(options.output, options.overwrite)
    except OSError as error:
        raise OSError(
            f"'{options.output}' cannot be written ({error}). Nothing is lost: the training is in "
            f"'{work}'. Make room and give the same command again."
        ) from error
    print(f"Model: {options.output}")
    if options.history is not None:
        result.save_history(options.history)
        print(f"History: {options.history}")
    if options.figure is not None:
        from kikuchipy_cnn import plotting

        save_figure(plotting.plot_training_curves([result.history]), options.figure)
    if options.evaluation is not None and len(split.test) == 0:
        print("No pattern is left for a test: all are for training or validation.")
    elif options.evaluation is not None:
        evaluation = evaluate(
            result.bundle,
            split.test,
            new_materials=split.claims == CLAIMS["material"],
            show_progressbar=not options.no_progress,
        )
        evaluation = replace(evaluation, claims=split.claims)
        _write_evaluation(evaluation, options.evaluation, options.overwrite)
    if result.stopped == "interrupted":
        print(f"To go on: give the same command with --overwrite. The state is in '{work}'.")
    elif options.work is None:
        remove_state(work)


def _evaluate(options: argparse.Namespace) -> None:
    from kikuchipy_cnn import load_model
    from kikuchipy_cnn.evaluation import evaluate
    from kikuchipy_cnn.training import read_manifest

    _check_folder(options.output, options.overwrite)
    bundle = load_model(options.model)
    patterns = read_manifest(options.manifest, show_progressbar=not options.no_progress)
    evaluation = evaluate(
        bundle,
        patterns,
        level=options.level,
        new_materials=options.new_materials,
        batch_size=options.batch_size,
        show_progressbar=not options.no_progress,
    )
    _write_evaluation(evaluation, options.output, options.overwrite)


def _protocol(options: argparse.Namespace) -> FewShotProtocol:
    """The protocol with what is given in the place of its defaults."""
    from kikuchipy_cnn.training import Augmentation, FewShotProtocol

    def given(kind: type) -> dict:
        names = (field.name for field in fields(kind))
        return {name: getattr(options, name) for name in names if hasattr(options, name)}

    return FewShotProtocol(
        **given(FewShotProtocol), augmentation=Augmentation(**given(Augmentation))
    )


def _check_folder(folder: Path, overwrite: bool) -> None:

    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"'{folder}' is a file. Give a folder.")
    for name in (_PREDICTIONS, _REPORT, *_FIGURES):
        if (folder / name).exists():
            check_destination(folder / name, overwrite)


def _write_evaluation(evaluation: Evaluation, folder: Path, overwrite: bool) -> None:
    """Tables and all figures that there is something to show in."""
    from kikuchipy_cnn import plotting

    print(evaluation.report())
    folder.mkdir(parents=True, exist_ok=True)
    evaluation.save_predictions(folder / _PREDICTIONS, overwrite)
    evaluation.save_report(folder / _REPORT, overwrite)
    print(f"Tables: {folder / _PREDICTIONS}, {folder / _REPORT}")
    figures = {
        "scores.png": plotting.plot_scores(evaluation),
        "confusion.png": plotting.plot_confusion(evaluation),
        "confusion_by_material.png": plotting.plot_confusion(evaluation, by="material"),
        "quality.png": plotting.plot_quality(evaluation),
    }
    if any(math.isfinite(number) for number in evaluation.atomic_numbers().values()):
        figures["atomic_number.png"] = plotting.plot_accuracy_by_atomic_number(evaluation)
    if evaluation.crystal_directions():
        figures["orientations.png"] = plotting.plot_orientations(evaluation)
    for name, figure in figures.items():
        save_figure(figure, folder / name)
