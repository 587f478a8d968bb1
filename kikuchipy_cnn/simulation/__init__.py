"""Simulated patterns of any crystal: structures, master patterns, cameras."""

from kikuchipy_cnn.simulation.bloch import BlochParameters
from kikuchipy_cnn.simulation.camera import Cameras, disturb
from kikuchipy_cnn.simulation.disturbances import Disturbances
from kikuchipy_cnn.simulation.emsoft import save_master_pattern
from kikuchipy_cnn.simulation.library import (
    MasterPatternLibrary,
    PhaseJitter,
    build_library,
    load_library,
    load_master_pattern,
    vary_phase,
)
from kikuchipy_cnn.simulation.master_pattern import simulate_master_pattern
from kikuchipy_cnn.simulation.non_patterns import NON_PATTERNS, sample_non_patterns
from kikuchipy_cnn.simulation.phases import load_phases
from kikuchipy_cnn.simulation.phases.crystallography import (
    SuperlatticeStrength,
    extinction_conditions,
    is_forbidden,
    superlattice_strength,
)
from kikuchipy_cnn.simulation.phases.structures import phase_from_cif, phase_from_structure
from kikuchipy_cnn.simulation.sampler import PatternSampler
from kikuchipy_cnn.simulation.signals import simulate_map, simulate_patterns

__all__ = [
    "NON_PATTERNS",
    "BlochParameters",
    "Cameras",
    "Disturbances",
    "MasterPatternLibrary",
    "PatternSampler",
    "PhaseJitter",
    "SuperlatticeStrength",
    "build_library",
    "disturb",
    "extinction_conditions",
    "is_forbidden",
    "load_library",
    "load_master_pattern",
    "load_phases",
    "phase_from_cif",
    "phase_from_structure",
    "sample_non_patterns",
    "save_master_pattern",
    "simulate_map",
    "simulate_master_pattern",
    "simulate_patterns",
    "superlattice_strength",
    "vary_phase",
]
