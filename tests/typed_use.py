"""What users write, for mypy: nothing of this is run.

``mypy`` reads it as it is set up in pyproject.toml. Each result is used as what it is annotated as.
"""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import numpy as np
from kikuchipy.signals import EBSD
from matplotlib.figure import Figure
from orix.crystal_map import CrystalMap

import kikuchipy_cnn
from kikuchipy_cnn import (
    Ensemble,
    LabelClasses,
    ModelBundle,
    PatternTransform,
    SpaceGroupClasses,
    comparison,
    evaluation,
    explanation,
    io,
    models,
    plotting,
    simulation,
    training,
    uncertainty,
    watching,
)


def classify(signal: EBSD, folder: Path) -> None:
    model = kikuchipy_cnn.load_model("fast_fewshot")
    assert_type(model, ModelBundle | Ensemble)
    assert_type(kikuchipy_cnn.list_models(), list[str])
    found = kikuchipy_cnn.classify_space_group(
        signal,
        [model, "xception_fewshot", folder],
        max_risk=0.05,
        prior={225: 0.9, 229: 0.1},
        navigation_mask=np.zeros((3, 3), bool),
        static_background=False,
        precision="float32",
        batch_size=8,
        store=folder / "results.h5",
    )
    # Of compute=False it is another object.
    assert isinstance(found, CrystalMap)
    io.save(folder / "map.ang", found, overwrite=True)
    assert_type(io.load(folder / "map.ang"), CrystalMap)
    assert_type(kikuchipy_cnn.coarser_map(found), CrystalMap)
    assert_type(kikuchipy_cnn.resolved_map(found, confidence=0.9), CrystalMap)
    assert_type(plotting.plot_space_groups(found), Figure)
    assert_type(plotting.plot_confidence(found), Figure)


def make_models(bundle: ModelBundle, folder: Path) -> None:
    assert_type(Ensemble("two", (bundle, bundle), temperature=1.2).save(folder), Path)
    assert_type(bundle.save(folder, overwrite=True), Path)
    assert_type(models.select_space_groups(bundle, (225, 229)), ModelBundle)
    assert_type(models.as_model([bundle, "fast_fewshot"]), ModelBundle | Ensemble)
    assert_type(bundle.predict_probabilities(np.zeros((1, 71, 71, 1))), np.ndarray)
    assert_type(SpaceGroupClasses((225, 229)).names, tuple[str, ...])
    assert_type(LabelClasses(("Ni", "Ni3Al")).names, tuple[str, ...])
    images, valid = PatternTransform(size=71)(np.zeros((2, 60, 60), np.uint8))
    assert_type(images, np.ndarray)
    assert_type(valid, np.ndarray)


def train(signal: EBSD, folder: Path) -> None:
    patterns = training.LabelledPatterns.from_signals({225: {"Ni": signal}})
    assert_type(patterns, training.LabelledPatterns)
    simulated = training.LabelledPatterns.from_simulation(["Ni", "W"], 10, seed=1)
    assert_type(simulated.counts(), dict[tuple[int, str], int])
    split = training.split_patterns(simulated, seed=1)
    assert_type(split, training.Split)
    protocol = training.FewShotProtocol(max_epochs=2)
    trainer = training.FewShotTrainer("fast_fewshot", protocol=protocol)
    result = trainer.fit(split.training, split.validation, work=folder)
    assert_type(result, training.TrainingResult)
    assert_type(result.bundle, ModelBundle)
    found = evaluation.evaluate(result.bundle, split.test)
    assert_type(found, evaluation.Evaluation)
    assert_type(found.report(), str)
    assert_type(plotting.plot_confusion(found), Figure)


def simulate() -> None:
    library = simulation.load_library()
    assert_type(library, simulation.MasterPatternLibrary)
    camera = simulation.Disturbances.of_level("medium").of_whole_detector()
    assert_type(camera, simulation.Disturbances)
    assert_type(simulation.simulate_patterns([library.signal("Ni")], 5, disturbances=camera), EBSD)
    phases = simulation.load_phases([225])
    strength = simulation.superlattice_strength(phases["Ni"])
    assert_type(strength, simulation.SuperlatticeStrength)
    assert_type(strength.ratio, float)


def judge(signal: EBSD, xmap: CrystalMap) -> None:
    values = explanation.explain(signal, (0, 2), "fast_fewshot", "gradcam")
    assert_type(values, explanation.Attributions)
    assert_type(plotting.plot_attributions(values), Figure)
    agreement = comparison.compare_phase_maps(xmap, xmap, names=["a", "b"])
    assert_type(agreement, comparison.PhaseComparison)
    assert_type(agreement.table(), str)
    assert_type(uncertainty.Limits(0.5, 0.8).confidence, float)
    for part in watching.PatternStream("scan.h5", "fast_fewshot", timeout=60):
        assert_type(part, watching.Round)
        assert_type(part.n_done, int)
