"""Train and judge the packaged models.

    python benchmarks/packaged_model.py train xception --size 71 --steps 2700 --work run
    python benchmarks/packaged_model.py evaluate run --name xception_fewshot
    python benchmarks/packaged_model.py package run/xception_fewshot

*train* writes weights and a log to the folder; *evaluate* calibrates them, measures recall on
unseen orientations of the phases trained on, on phases left out and on the real patterns at hand,
and writes the bundle with its card; *package* puts it into the package.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import textwrap
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import kikuchipy as kp
import numpy as np
from kikuchipy.signals import EBSD
from papers.materials import MATERIALS
from scipy.ndimage import gaussian_filter

from kikuchipy_cnn import PatternTransform, SpaceGroupClasses
from kikuchipy_cnn.models import ModelBundle, build_network, load_bundle
from kikuchipy_cnn.models.acceleration import with_fused_normalisation, with_input_size
from kikuchipy_cnn.models.architectures import XCEPTION_MINIMUM_SIZE
from kikuchipy_cnn.models.growth import grow_into_xception
from kikuchipy_cnn.models.statistics import BatchStatistics
from kikuchipy_cnn.simulation import load_phases, superlattice_strength
from kikuchipy_cnn.simulation.library import MasterPatternLibrary, load_library
from kikuchipy_cnn.simulation.phases import load_phase_table
from kikuchipy_cnn.simulation.sampler import Disturbances, PatternSampler
from kikuchipy_cnn.space_groups import probability_property
from kikuchipy_cnn.training.calibration import fit_temperature
from kikuchipy_cnn.training.simulated import SimulatedTraining, train_on_simulations

if TYPE_CHECKING:
    import keras

# All ten space groups of m-3m; what ships names six or ten of them.
CLASSES = SpaceGroupClasses(tuple(range(221, 231)))
SIX = (221, 223, 225, 227, 229, 230)
# Share of the patterns of each space group of which few phases are known.
RARE_SHARE = 0.03
_PAPERS_NAMES = [name for names in MATERIALS.values() for name in names]
# Structures of most metals and semiconductors that are looked at by EBSD.
COMMON_PROTOTYPES = ("Cu (A1)", "W (A2)", "C diamond (A4)")
# Phases that users are likely to have are not spent on the test of phases left out.
_NEVER_LEFT_OUT = {*_PAPERS_NAMES, "Cu", "Fe-fcc"}
# Below this share of their intensity in the reflections that set it apart (superlattice_strength), a
# phase looks like one of another space group, and to train on it is to train on a wrong label.
LEAST_VISIBLE = 0.01
LEFT_OUT_FRACTION = 0.08
PACKAGED = Path(__file__).parents[1] / "kikuchipy_cnn" / "models" / "packaged"
REAL_PATTERNS = Path(__file__).parents[2] / "shared" / "patterns"


def phase_visibility() -> dict[str, float]:
    """Share of each phase's intensity in the reflections that tell its space group."""
    phases = load_phases()
    return {
        name: superlattice_strength(phases[name]).ratio
        for name, entry in load_phase_table().items()
        if entry.space_group in CLASSES
    }


def left_out_phases(library: MasterPatternLibrary, hidden: set[str]) -> list[str]:
    """Phases never trained on: a few of each class, none that a user is likely to have."""
    rng = np.random.default_rng(2021)
    names: list[str] = []
    for number in CLASSES:
        candidates = [
            name
            for name in sorted(library.names)
            if library.space_groups[name] == number
            and name not in _NEVER_LEFT_OUT
            and name not in hidden
        ]
        least = 3 if number in SIX else len(candidates) // 4
        n = max(least, round(LEFT_OUT_FRACTION * len(candidates)))
        names += [str(name) for name in rng.choice(candidates, n, replace=False)]
    return names


def training_probabilities(
    names: list[str], space_groups: dict[str, int], weight_common: float, weight_papers: float
) -> dict[str, float]:
    """Shares of the phases in the patterns to train on.

    The six space groups that most phases have are equally frequent, the others rare. Within a
    class, phases of a crowded structure type are drawn less often; the structures of metals, which
    most maps are of, and the papers' materials more often.
    """
    table = load_phase_table()
    shares = {number: RARE_SHARE for number in CLASSES if number not in SIX}
    shares |= dict.fromkeys(SIX, (1 - sum(shares.values())) / len(SIX))
    probabilities = {}
    for number in CLASSES:
        members = [name for name in names if space_groups[name] == number]
        crowd = Counter(table[name].prototype for name in members)
        weights = np.array([crowd[table[name].prototype] ** -0.25 for name in members])
        weights *= [
            weight_common
            if table[name].prototype in COMMON_PROTOTYPES
            else weight_papers
            if name in _PAPERS_NAMES
            else 1
            for name in members
        ]
        for name, weight in zip(members, weights / weights.sum(), strict=True):
            probabilities[name] = shares[number] * weight
    return probabilities


class Task:
    """Master patterns, labels and the split into phases seen and left out.

    Parameters
    ----------
    without_papers
        Whether to leave the papers' materials out, too.
    variants
        Files of further master patterns of the same phases (see the subcommand *variants*).
    """

    def __init__(self, without_papers: bool = False, variants: Sequence[Path] = ()) -> None:
        everything = load_library()
        self.library = everything.subset(
            [name for name in everything.names if everything.space_groups[name] in CLASSES]
        )
        self.visibility = phase_visibility()
        self.hidden = {name for name, x in self.visibility.items() if x < LEAST_VISIBLE}
        self.left_out = left_out_phases(self.library, self.hidden)
        unused = {*self.left_out, *self.hidden}
        if without_papers:
            unused.update(_PAPERS_NAMES)
        self.seen = [name for name in self.library.names if name not in unused]
        self.names = list(self.library.names)
        master_patterns = [self.library[name][0] for name in self.names]
        for path in variants:
            library = load_library(path)
            chosen = [name for name in library.names if name.split("#")[0] in self.seen]
            self.names += chosen
            master_patterns += [library[name][0] for name in chosen]
        # Directions are computed at points; the filter takes out lines finer than the grid. In m-3m
        # one hemisphere says all.
        self.master_patterns = np.stack([gaussian_filter(x, 0.7) for x in master_patterns])
        self.labels = np.array(
            [CLASSES.index(self.library.space_groups[n.split("#")[0]]) for n in self.names]
        )

    def probabilities(self, weight_common: float, weight_papers: float) -> np.ndarray:
        """How often to train on each master pattern; variants as often as the phase itself."""
        of_phase = training_probabilities(
            self.seen, self.library.space_groups, weight_common, weight_papers
        )
        phases = [name.split("#")[0] for name in self.names]
        n_variants = Counter(phases[len(self.library) :])
        probabilities = np.array([of_phase.get(phase, 0.0) for phase in phases])
        for i, phase in enumerate(phases):
            if n_variants[phase]:
                is_variant = i >= len(self.library)
                probabilities[i] *= 0.5 / n_variants[phase] if is_variant else 0.5
        return probabilities

    def simulate(
        self,
        names: list[str],
        n: int,
        transform: PatternTransform,
        seed: int,
        disturbances: Disturbances | None = None,
    ):
        """Patterns with each class and, within a class, each phase equally often."""
        groups = self.library.space_groups
        counts = Counter(groups[name] for name in names)
        wanted = [1 / counts[groups[name]] if name in names else 0.0 for name in self.library.names]
        sampler = PatternSampler(
            self.master_patterns[: len(wanted)],
            np.array(wanted),
            transform.size,
            disturbances,
            seed,
        )
        sample = sampler.sample(n)
        return transform.standardise(sample.patterns, sample.weights)[..., None], sample.phases


def logits_of(network, images: np.ndarray) -> np.ndarray:
    parts = [
        np.asarray(network.predict_on_batch(images[i : i + 128]), dtype=np.float64)
        for i in range(0, len(images), 128)
    ]
    return np.concatenate(parts)


def softmax(logits: np.ndarray, temperature: float) -> np.ndarray:
    logits = (logits - logits.max(axis=1, keepdims=True)) / temperature
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error (Guo et al., ICML 2017, equation 3)."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    return float(
        sum(abs(confidence[index == b].sum() - right[index == b].sum()) for b in range(bins))
        / len(labels)
    )


def real_signals() -> dict[str, tuple[list[EBSD], int]]:
    """Real patterns at hand and their space group."""
    found = {"nickel (kikuchipy, 60 x 60)": ([kp.data.nickel_ebsd_small()], 225)}
    files = sorted((REAL_PATTERNS / "si_wafer").glob("*.h5"))
    if files:
        signals = [kp.load(file) for file in files]
        found["silicon wafer (3 camera distances, 480 x 480)"] = (signals, 227)
    file = REAL_PATTERNS / "steel_ferrite" / "patterns.npz"
    if file.exists():
        with np.load(file) as data:
            patterns, good = data["patterns"], data["ci"] > 0.5
        name = "ferritic steel (240 x 240), confidence index"
        found[f"{name} > 0.5"] = ([EBSD(patterns[good])], 229)
        found[f"{name} <= 0.5"] = ([EBSD(patterns[~good])], 229)
    return found


def classify_real(bundle: ModelBundle) -> dict[str, dict]:
    """What a user gets for the real patterns."""
    results = {}
    for name, (signals, number) in real_signals().items():
        with contextlib.redirect_stdout(io.StringIO()):
            maps = [s.classify_space_group(bundle, show_progressbar=False) for s in signals]
        counts = Counter(int(i) for xmap in maps for i in xmap.phase_id)
        mean = np.concatenate([xmap.prop[probability_property(number)] for xmap in maps]).mean()
        n = sum(xmap.size for xmap in maps)
        results[name] = {"class": number, "counts": dict(counts), "n": n, "mean": float(mean)}
    return results


def recalls(predicted: np.ndarray, labels: np.ndarray) -> list[float]:
    return [float((predicted[labels == i] == i).mean()) for i in np.unique(labels)]


def _final_shape(options: argparse.Namespace) -> tuple[int, int, int]:
    """Xception learns at smaller sizes, too, but cannot be built with one."""
    size = options.size
    if options.architecture == "xception":
        size = max(size, XCEPTION_MINIMUM_SIZE)
    return size, size, 1


def _read_record(work: Path) -> dict:
    """What a run wrote of itself."""
    return json.loads((work / "training.json").read_text())


def _start(options: argparse.Namespace) -> tuple[keras.Model, list[dict]]:
    """Network to train and the stages that it has gone through."""
    network = build_network(options.architecture, _final_shape(options), len(CLASSES))
    if options.weights is None:
        return with_fused_normalisation(with_input_size(network, options.size)), []
    stages = _read_record(options.weights)["stages"]
    before = build_network(stages[-1]["architecture"], network.input_shape[1:], len(CLASSES))
    before.load_weights(options.weights / "network.weights.h5")
    if stages[-1]["architecture"] != options.architecture:
        before = grow_into_xception(before)
    return with_fused_normalisation(with_input_size(before, options.size)), stages


def train(options: argparse.Namespace) -> None:
    import keras

    keras.utils.set_random_seed(options.seed)
    keras.mixed_precision.set_global_policy(options.precision)
    options.work.mkdir(parents=True, exist_ok=True)
    task = Task(options.without_papers, options.variants)
    transform = PatternTransform(size=options.size)
    network, stages = _start(options)
    protocol = SimulatedTraining(
        n_steps=options.steps,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        severities=tuple(options.severities),
        easy=options.easy,
        thinning=options.thinning,
        geometry_weight=options.geometry_weight,
        profile_weight=options.profile_weight,
        seed=options.seed,
    )
    sampler = PatternSampler(
        task.master_patterns,
        task.probabilities(options.weight_common, options.weight_papers),
        options.size,
        Disturbances(noise=(0, options.noise)),
    )
    six = {
        "seen": [name for name in task.seen if task.library.space_groups[name] in SIX],
        "left out": [name for name in task.left_out if task.library.space_groups[name] in SIX],
    }
    checks = {
        f"{name} {level}": task.simulate(
            names, 1200, transform, seed=99, disturbances=Disturbances.of_level(level)
        )
        for name, names in six.items()
        for level in ("medium", "high")
    }
    stages.append(
        {
            "architecture": options.architecture,
            "size": options.size,
            "seed": options.seed,
            "precision": options.precision,
            "protocol": protocol.to_dict(),
            "weight_common": options.weight_common,
            "weight_papers": options.weight_papers,
            "noise": options.noise,
            "variants": len(task.names) - len(task.library),
            "phases": task.seen,
        }
    )
    (options.work / "training.json").write_text(json.dumps({"stages": stages}, indent=2))
    recent: list[float] = []
    start = time.time()

    def after_step(step: int, loss: float) -> None:
        recent.append(loss)
        if step % options.check_every and step != options.steps:
            return
        line = f"step {step} {(time.time() - start) / 60:.1f} min loss {np.mean(recent):.3f}"
        recent.clear()
        trained = six_classes("check", options.architecture, network, transform)
        for name, (images, phases) in checks.items():
            predicted = logits_of(trained.network, images).argmax(axis=1)
            values = recalls(predicted, labels_of_six(task, phases))
            line += f" | {name} {np.mean(values):.3f} {np.round(values, 2).tolist()}"
        for name, result in classify_real(trained).items():
            line += f" | {name.split(' (')[0]} {result['counts']} of {result['n']}"
        print(line, flush=True)
        with open(options.work / "log.txt", "a") as log:
            log.write(line + "\n")
        temporary = options.work / "part.weights.h5"
        network.save_weights(temporary)
        os.replace(temporary, options.work / "network.weights.h5")

    train_on_simulations(
        network,
        sampler,
        task.labels,
        transform,
        protocol,
        state_folder=options.work / "state",
        after_step=after_step,
        show_progressbar=False,
    )


def six_classes(
    name: str, architecture: str, network: keras.Model, transform: PatternTransform
) -> ModelBundle:
    """Model of the six space groups, from a network for all ten."""
    six = build_network(architecture, network.input_shape[1:], len(SIX))
    *others, kernel, bias = network.get_weights()
    columns = [CLASSES.index(number) for number in SIX]
    six.set_weights([*others, kernel[:, columns], bias[columns]])
    return ModelBundle(name, architecture, six, SpaceGroupClasses(SIX), transform)


def labels_of_six(task: Task, phases: np.ndarray) -> np.ndarray:
    return np.array([SIX.index(CLASSES.ids[i]) for i in task.labels[phases]])


def average(options: argparse.Namespace) -> None:
    """Mix the weights of checkpoints, and take the batch statistics of the mixture anew.

    The moving averages lag behind the weights while the learning rate is high.
    """

    stages = _read_record(options.work)["stages"]
    architecture, size = stages[-1]["architecture"], stages[-1]["size"]
    network = build_network(architecture, (size, size, 1), len(CLASSES))
    total = sum(options.shares)
    mixture = None
    for checkpoint, share in zip(options.checkpoints, options.shares, strict=True):
        network.load_weights(checkpoint)
        part = [share / total * weight for weight in network.get_weights()]
        mixture = part if mixture is None else [a + b for a, b in zip(mixture, part, strict=True)]
    network.set_weights(mixture)

    task, transform = Task(), PatternTransform(size=size)
    probabilities = training_probabilities(
        task.library, task.seen, stages[-1]["weight_common"], stages[-1]["weight_papers"]
    )
    samples = (
        PatternSampler(task.master_patterns, probabilities, size, seed=seed).sample(256)
        for seed in range(12)
    )
    BatchStatistics(network).retake(
        (transform.standardise(sample.patterns, sample.weights)[..., None] for sample in samples),
    )
    stages[-1]["note"] = options.note
    _save(network, stages, options.into)


def grow(options: argparse.Namespace) -> None:
    """Grow a narrow network into Xception, without training it further."""
    stages = _read_record(options.work)["stages"]
    size = stages[-1]["size"]
    network = build_network("xception_narrow", (size, size, 1), len(CLASSES))
    network.load_weights(options.work / "network.weights.h5")
    _save(grow_into_xception(network), stages, options.into, architecture="xception")


def _save(network, stages: list[dict], folder: Path, architecture: str | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    network.save_weights(folder / "network.weights.h5")
    record = {"stages": stages, "architecture": architecture or stages[-1]["architecture"]}
    (folder / "training.json").write_text(json.dumps(record, indent=2))


def evaluate(options: argparse.Namespace) -> None:
    record = _read_record(options.work)
    stages = record["stages"]
    architecture = record.get("architecture", stages[-1]["architecture"])
    size = stages[-1]["size"]
    task = Task()
    transform = PatternTransform(size=size)
    network = build_network(architecture, (size, size, 1), len(CLASSES))
    network.load_weights(options.work / "network.weights.h5")

    images, phases = task.simulate(task.seen, 3000, transform, seed=7)
    bundle = ModelBundle(
        name=options.name,
        architecture=architecture,
        network=network,
        classes=CLASSES,
        transform=transform,
        temperature=fit_temperature(logits_of(network, images), task.labels[phases]),
        training={"stages": stages, "left_out_phases": task.left_out},
    )
    # Judged is what ships, with weights of 16 bits.
    folder = bundle.save(options.work / options.name, overwrite=True)
    bundle = load_bundle(folder)
    network, temperature = bundle.network, bundle.temperature
    results: dict[str, dict] = {}
    for name, names in (("seen", task.seen), ("left out", task.left_out)):
        images, phases = task.simulate(names, options.patterns, transform, seed=11)
        probabilities = softmax(logits_of(network, images), temperature)
        labels, predicted = task.labels[phases], probabilities.argmax(axis=1)
        results[name] = {
            "recall": recalls(predicted, labels),
            "ece": calibration_error(probabilities, labels),
            "materials": {
                task.library.names[i]: float((predicted[phases == i] == labels[phases == i]).mean())
                for i in np.unique(phases)
            },
        }
    real = classify_real(bundle)
    # The papers' materials one by one, with enough patterns each for a figure.
    papers = {}
    for name in _PAPERS_NAMES:
        images, phases = task.simulate([name], 200, transform, seed=13)
        predicted = logits_of(network, images).argmax(axis=1)
        papers[name] = float((predicted == task.labels[phases]).mean())

    bundle.card = write_card(
        options.name, architecture, stages, task, results, real, papers, temperature, options
    )
    bundle.save(folder, overwrite=True)
    print(bundle.card)
    print(f"Bundle: {folder}")


def package(options: argparse.Namespace) -> None:
    """Put a bundle into the package, with the checksum by which it is known."""
    bundle = load_bundle(options.bundle)
    folder = bundle.save(PACKAGED / bundle.name, overwrite=True)
    file = PACKAGED / "sha256.json"
    checksums = json.loads(file.read_text())
    checksums[bundle.name] = hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
    file.write_text(json.dumps(checksums, indent=2, sort_keys=True) + "\n")
    print(f"{bundle!r} is packaged in {folder}")


def _steps_done(stage: dict) -> int:
    return stage.get("steps_done", stage["protocol"]["n_steps"])


def write_card(
    name, architecture, stages, task, results, real, papers, temperature, options
) -> str:
    last = stages[-1]
    n_seen = sum(_steps_done(x) * x["protocol"]["batch_size"] for x in stages)
    stage_rows = "\n".join(
        f"| {x['architecture']} | {x['size']} | {_steps_done(x)} x "
        f"{x['protocol']['batch_size']} | {x['protocol']['learning_rate']} "
        f"| {x['protocol']['severities'][0]} to {x['protocol']['severities'][1]} "
        f"| {x['noise']} | {x['protocol']['geometry_weight']} "
        f"| {x['weight_common']:g}, {x['weight_papers']:g} | {x['seed']} |"
        for x in stages
    )
    grown = any(x["architecture"] != architecture for x in stages)
    origin = "grown from a narrow network (see Protocol)" if grown else "trained from scratch"
    table = load_phase_table()
    rows = "\n".join(
        f"| {number} {symbol} | {results['seen']['recall'][i]:.3f} "
        f"| {results['left out']['recall'][i]:.3f} |"
        for i, (number, symbol) in enumerate(zip(CLASSES, CLASSES.hermann_mauguin, strict=True))
    )
    mean = [np.mean(results[key]["recall"]) for key in ("seen", "left out")]
    real_rows = "\n".join(
        f"| {key} | {value['class']} | {value['counts'].get(value['class'], 0)} of {value['n']} "
        f"| {value['mean']:.2f} "
        f"| {', '.join(f'{k}: {v}' for k, v in sorted(value['counts'].items()))} |"
        for key, value in real.items()
    )
    left_rows = "\n".join(
        f"| {key} | {table[key].space_group} | {table[key].prototype} | {value:.2f} |"
        for key, value in results["left out"]["materials"].items()
    )
    paper_rows = "\n".join(
        f"| {key} | {table[key].space_group} | {value:.2f} |" for key, value in papers.items()
    )
    stopped = "".join(
        f"Stage {i} was stopped after {x['steps_done']} of {x['protocol']['n_steps']} steps. "
        for i, x in enumerate(stages, start=1)
        if "steps_done" in x
    )
    stopped = "\n".join(textwrap.wrap(stopped + " ".join(x.get("note", "") for x in stages), 100))
    growth = ""
    if grown:
        growth = (
            "The narrow network was grown into Xception without a change of its function\n"
            "(`kikuchipy_cnn.models.growth`); its new filters wait for further training, and its "
            "figures are those of\n`xception_narrow`, which is about ten times faster. "
        )
    size = last["size"]
    commands = "\n".join(
        f"python benchmarks/packaged_model.py train {x['architecture']} --size {x['size']} --steps "
        f"{x['protocol']['n_steps']} --batch-size {x['protocol']['batch_size']} --learning-rate "
        f"{x['protocol']['learning_rate']} --severities {x['protocol']['severities'][0]} "
        f"{x['protocol']['severities'][1]} --easy {x['protocol']['easy']} --geometry-weight "
        f"{x['protocol']['geometry_weight']} --weight-common {x['weight_common']} --weight-papers "
        f"{x['weight_papers']} --noise {x['noise']} --seed {x['seed']} "
        f"--work run{i}" + (f" --weights run{i - 1}" if i else "")
        for i, x in enumerate(stages)
    )
    if "note" in last:
        commands += "\n# then the average subcommand, with the checkpoints named under Protocol"
    if grown and last["architecture"] != architecture:
        commands += f"\npython benchmarks/packaged_model.py grow run{len(stages) - 1} --into grown"
    commands += f"\npython benchmarks/packaged_model.py evaluate run{len(stages) - 1} --name {name}"
    return f"""# {name}

{architecture} for {size} x {size} pixels, one grey channel, six of the ten space groups of
m-3m; {origin}, on simulated patterns only: no ImageNet weights, no measured patterns.

## Data

Dynamical master patterns at 20 kV of {len(task.library)} phases (301 x 301, Lambert), simulated
with this package; {len(task.seen)} trained on, {len(task.left_out)} left out. In neither are
{len(HIDDEN_ORDER)} phases whose order hardly shows ({", ".join(HIDDEN_ORDER)}):
the figures below are better than with them. {n_seen:,} patterns, each one new: random orientation,
projection center, blur, noise, background, response and detector shape
(`kikuchipy_cnn.simulation.sampler.Disturbances`). Classes equally often.

## Protocol

| architecture | pixels | steps x patterns | rate | severity | noise | geometry | weights | seed |
|---|---|---|---|---|---|---|---|---|
{stage_rows}

AdamW with the given learning rate, weight decay {last["protocol"]["weight_decay"]}, warm-up, cosine
decay, label smoothing {last["protocol"]["label_smoothing"]}, {last["precision"]}. Severity is the
fraction of the range of imperfections at the start and the end of a stage, noise the largest ratio
of noise to signal. A second output, for training only, names bands and zone axes; its weight is
under geometry. Weights say how much more often metals of the structures A1, A2 and A4, and
others of the papers' materials, were drawn: where a pattern fits 221 and 225, metals win.
{stopped}

{growth}Probabilities are calibrated: temperature {temperature:.3f}, fitted on
3,000 simulated patterns of the phases trained on.

## Recall on simulated patterns

{options.patterns:,} patterns each, at the full range of imperfections, every phase of a class
equally often. Unseen orientations: phases that were trained on. Left out: phases never trained on.

| space group | unseen orientations | phases left out |
|---|---|---|
{rows}
| mean | {mean[0]:.3f} | {mean[1]:.3f} |

Expected calibration error: {results["seen"]["ece"]:.3f} and {results["left out"]["ece"]:.3f}.

## Real patterns

Through `classify_space_group`, with its defaults. None of them was used in training. They were
looked at while the training was developed, so they are no blind test.

| patterns | space group | right | mean probability | found |
|---|---|---|---|---|
{real_rows}

## The papers' materials

Simulated patterns, unseen orientations, 200 of each.

| material | space group | recall |
|---|---|---|
{paper_rows}

## Phases left out, one by one

| phase | space group | structure type | recall |
|---|---|---|---|
{left_rows}

## Limits

- Only six space groups are known: a pattern of any other phase, or of no crystal, is given to one
  of them. Low scores and high entropy hint at that; there is no rejection yet.
- Simulated at one voltage, 20 kV. Other voltages change the width of bands as other lattice
  parameters do, but were not tested.
- Ordered phases whose elements are close in atomic number (FeNi3, FeTi, Ni3Ga) look like their
  disordered parents. No network can tell them apart from one pattern of usual quality.
- The real patterns at hand are few and of three phases, and each set holds only a few orientations.

## Reproduce

```
{commands}
```
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train")
    command.add_argument("architecture")
    command.add_argument("--size", type=int, default=71)
    command.add_argument("--steps", type=int, required=True)
    command.add_argument("--batch-size", type=int, default=128)
    command.add_argument("--learning-rate", type=float, default=2e-3)
    command.add_argument("--severities", type=float, nargs=2, default=(0.02, 1.0))
    command.add_argument("--easy", type=float, default=0.1)
    command.add_argument("--weight-common", type=float, default=8.0)
    command.add_argument("--weight-papers", type=float, default=2.0)
    command.add_argument("--noise", type=float, default=Disturbances().noise[1])
    command.add_argument("--geometry-weight", type=float, default=4.0)
    command.add_argument("--profile-weight", type=float, default=1.0)
    command.add_argument("--thinning", type=float, default=0.4)
    command.add_argument("--variants", type=Path, nargs="*", default=[])
    command.add_argument(
        "--without-papers", action="store_true", help="train on no material of the papers"
    )
    command.add_argument("--precision", default="mixed_bfloat16")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--check-every", type=int, default=100)
    command.add_argument("--weights", type=Path, help="work folder of a run to go on from")
    command.add_argument("--work", type=Path, required=True)
    command.set_defaults(run=train)
    command = commands.add_parser("evaluate")
    command.add_argument("work", type=Path)
    command.add_argument("--name", required=True)
    command.add_argument("--patterns", type=int, default=6000)
    command.set_defaults(run=evaluate)
    command = commands.add_parser("average")
    command.add_argument("work", type=Path, help="folder of the run that the checkpoints are of")
    command.add_argument("--checkpoints", type=Path, nargs="+", required=True)
    command.add_argument("--shares", type=float, nargs="+", required=True)
    command.add_argument("--note", required=True, help="what the card says of the choice")
    command.add_argument("--into", type=Path, required=True)
    command.set_defaults(run=average)
    command = commands.add_parser("grow")
    command.add_argument("work", type=Path)
    command.add_argument("--into", type=Path, required=True)
    command.set_defaults(run=grow)
    command = commands.add_parser("package")
    command.add_argument("bundle", type=Path)
    command.set_defaults(run=package)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
