# SPDX-License-Identifier: GPL-3.0-or-later

from .bloch import BlochParameters
from .camera import Cameras, disturb
from .disturbances import Disturbances
from .emsoft import save_master_pattern
from .library import (
    MasterPatternLibrary,
    PhaseJitter,
    build_library,
    load_library,
    load_master_pattern,
    vary_phase,
)
from .master_pattern import simulate_master_pattern
from .non_patterns import NON_PATTERNS, sample_non_patterns
from .phases import load_phases
from .phases.crystallography import (
    SuperlatticeStrength,
    extinction_conditions,
    is_forbidden,
    superlattice_strength,
)
from .phases.structures import phase_from_cif, phase_from_structure
from .sampler import PatternSampler
from .signals import simulate_map, simulate_patterns

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
