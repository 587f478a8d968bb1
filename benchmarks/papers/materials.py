"""Materials and experiments of Kaufmann et al.

Sci. Rep. 11 (2021) 8172 and Microsc. Microanal. 26 (2020) 447. Names are those of the catalogue of
phases. Experiments name the materials that are trained on; all 18 are tested.
"""

MATERIALS = {
    221: ("FeAl", "NiAl", "Ni3Al", "FeNi3"),
    223: ("Cr3Si", "Mo3Si"),
    225: ("Ni", "Al", "NbC", "TaC", "TiC"),
    227: ("Si", "Ge"),
    229: ("W", "Ta", "Fe-bcc"),
    230: ("Al4CoNi2", "Al4Ni3"),
}

# One material for each space group, the heaviest but for tungsten, of which there were too few.
_HEAVY = ("FeNi3", "Mo3Si", "TaC", "Ge", "Ta", "Al4CoNi2")


def _swapped(heavy: str, light: str) -> tuple[str, ...]:
    return tuple(light if name == heavy else name for name in _HEAVY)


EXPERIMENTS = {
    "all materials": tuple(name for names in MATERIALS.values() for name in names),
    "one heavy material": _HEAVY,
    "TaC swapped for Al": _swapped("TaC", "Al"),
    "Ge swapped for Si": _swapped("Ge", "Si"),
    "Ta swapped for Fe": _swapped("Ta", "Fe-bcc"),
    "two materials": (*_HEAVY, "NiAl", "Ni", "Si", "Fe-bcc"),
}
