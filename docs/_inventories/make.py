"""Write the inventories of names in other projects that the documentation links to.

The site is built without a network, so the inventories are not fetched from these projects' sites:
this script writes those names that the package's signatures and docstrings use, with the addresses
that the sites give them. Run it after a name was added below::

    python docs/_inventories/make.py

Addresses follow from how each project makes its pages, as read in its repository or on its site:

kikuchipy, orix, pyebsdindex
    autosummary with ``reference/generated``, a page for each class, function, method and attribute.
dask
    ``generated``, a page for each class.
diffpy.structure
    ``api/diffpy.structure.html`` holds all modules of the package.
distributed
    ``api.html`` holds all.
matplotlib
    ``api/_as_gen``, a page for each class and method.
numpy
    ``reference/generated``; random generators have pages of their own.
python
    Pages of the library's modules; built-in types are in ``stdtypes`` and ``functions``.

Modules are those where an object is defined, too, as signatures have these.
"""

from pathlib import Path

import sphobjinv

HERE = Path(__file__).parent
# Where autosummary puts the page of a name. "{}" stands for the name, here and below.
GENERATED = "reference/generated/{}.html#{}"

# Addresses of names, by project and role. Signatures name the modules where classes are defined:
# what such a name is documented as follows after "=".
NAMES = {
    "dask": {
        "class": {
            "dask.array.core.Array=dask.array.Array": "generated/{}.html#{}",
        },
        "function": {"dask.compute": "api.html#{}"},
    },
    "diffpy.structure": {
        "class": {
            "diffpy.structure.structure.Structure": "api/diffpy.structure.html#{}",
        },
    },
    "distributed": {
        "class": {"distributed.client.Client=distributed.Client": "api.html#{}"},
    },
    "kikuchipy": {
        "class": {
            "kikuchipy.detectors._ebsd_detector.EBSDDetector=kikuchipy.detectors.EBSDDetector": (
                GENERATED
            ),
            "kikuchipy.signals.EBSD": GENERATED,
            "kikuchipy.signals.ebsd.EBSD=kikuchipy.signals.EBSD": GENERATED,
            (
                "kikuchipy.signals.ebsd_master_pattern.EBSDMasterPattern="
                "kikuchipy.signals.EBSDMasterPattern"
            ): GENERATED,
            (
                "kikuchipy.simulations._kikuchi_pattern_simulation."
                "GeometricalKikuchiPatternSimulation="
                "kikuchipy.simulations.GeometricalKikuchiPatternSimulation"
            ): GENERATED,
        },
        "method": {
            "kikuchipy.detectors.EBSDDetector.get_indexer": GENERATED,
            "kikuchipy.signals.EBSD.dictionary_indexing": GENERATED,
            "kikuchipy.signals.EBSD.hough_indexing": GENERATED,
        },
    },
    "matplotlib": {
        "class": {"matplotlib.figure.Figure": "api/_as_gen/{}.html#{}"},
        "method": {"matplotlib.figure.Figure.savefig": "api/_as_gen/{}.html#{}"},
    },
    "numpy": {
        "class": {
            "numpy.dtype": GENERATED,
            "numpy.ndarray": GENERATED,
            "numpy.random._generator.Generator=numpy.random.Generator": (
                "reference/random/generator.html#{}"
            ),
        },
    },
    "orix": {
        "class": {
            "orix.crystal_map.CrystalMap": GENERATED,
            "orix.crystal_map.Phase": GENERATED,
            "orix.crystal_map._phase.Phase=orix.crystal_map.Phase": GENERATED,
            "orix.crystal_map._phase_list.PhaseList=orix.crystal_map.PhaseList": GENERATED,
            "orix.crystal_map.crystal_map.CrystalMap=orix.crystal_map.CrystalMap": GENERATED,
            "orix.quaternion.rotation.Rotation=orix.quaternion.Rotation": GENERATED,
            "orix.quaternion.symmetry.Symmetry=orix.quaternion.Symmetry": GENERATED,
        },
    },
    "pyebsdindex": {
        "class": {"pyebsdindex.ebsd_index.EBSDIndexer": GENERATED},
    },
    "python": {
        "class": {
            "bool": "library/functions.html#{}",
            "bytes": "library/stdtypes.html#{}",
            "collections.abc.Callable": "library/collections.abc.html#{}",
            "collections.abc.Iterable": "library/collections.abc.html#{}",
            "collections.abc.Iterator": "library/collections.abc.html#{}",
            "collections.abc.Mapping": "library/collections.abc.html#{}",
            "collections.abc.Sequence": "library/collections.abc.html#{}",
            "dict": "library/stdtypes.html#{}",
            "float": "library/functions.html#{}",
            "int": "library/functions.html#{}",
            "list": "library/stdtypes.html#{}",
            "os.PathLike": "library/os.html#{}",
            "pathlib.Path": "library/pathlib.html#{}",
            "set": "library/stdtypes.html#{}",
            "str": "library/stdtypes.html#{}",
            "tuple": "library/stdtypes.html#{}",
        },
        "data": {"None": "library/constants.html#{}"},
    },
}


def main() -> None:
    """Write one file for each project."""
    for project, roles in NAMES.items():
        inventory = sphobjinv.Inventory()
        inventory.project, inventory.version = project, ""
        for role, addresses in roles.items():
            for names, address in addresses.items():
                name, _, documented = names.partition("=")
                documented = documented or name
                uri = address.replace("{}", documented)
                entry = sphobjinv.DataObjStr(
                    name=name, domain="py", role=role, priority="1", uri=uri, dispname="-"
                )
                inventory.objects.append(entry)
        text = inventory.data_file(contract=True)
        sphobjinv.writebytes(HERE / f"{project}.inv", sphobjinv.compress(text))


if __name__ == "__main__":
    main()
