"""Sphinx extension: the public names of the package, each documented once and found by all.

- Signatures are resolved with what is imported for type checkers only.
- The method of EBSD signals is documented without the argument that the signal is.
- A name that can be imported from several modules has one page, which references by its other names
  lead to. So do references to fields of a dataclass, which are described as its parameters.
- Internal names have no page, and are not linked. A name that is not there is an error.
- Pages of source code lead back to the page of each name.
- A public name without a page is an error.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import get_type_hints

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.logging import getLogger

import kikuchipy_cnn

METHOD = "kikuchipy.signals.EBSD.classify_space_group"

_logger = getLogger(__name__)
_LINK_BACK = re.compile(
    r'(?P<before><div class="viewcode-block" id="(?P<name>[\w.]+)">\s*'
    r'<a class="viewcode-back" href=")[^"]*"'
)


def setup(app: Sphinx) -> dict:
    """Connect the functions below to Sphinx."""
    app.connect("config-inited", prepare_annotations)
    # Before numpydoc, which formats what it finds.
    app.connect("autodoc-process-docstring", leave_out_signal, priority=400)
    app.connect("autodoc-process-signature", write_factories)
    app.connect("autodoc-skip-member", choose_members)
    # Before intersphinx, as the names are our own.
    app.connect("missing-reference", resolve_other_name, priority=400)
    app.connect("env-check-consistency", check_all_documented)
    app.connect("html-page-context", lead_back_from_source)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def modules() -> Iterator[ModuleType]:
    """All modules of the package, imported."""
    yield kikuchipy_cnn
    for info in pkgutil.walk_packages(kikuchipy_cnn.__path__, "kikuchipy_cnn."):
        yield importlib.import_module(info.name)


def public_names() -> dict[str, object]:
    """Objects of the package and its public modules, by their full names."""
    found = {}
    for module in [kikuchipy_cnn, *vars_of(kikuchipy_cnn, ModuleType)]:
        for name in module.__all__:
            member = getattr(module, name)
            if not isinstance(member, ModuleType):
                found[f"{module.__name__}.{name}"] = member
    return found


def vars_of(module: ModuleType, kind: type) -> list:
    """Public members of a module that are of a kind."""
    return [member for name in module.__all__ if isinstance(member := getattr(module, name), kind)]


def prepare_annotations(app: Sphinx, config) -> None:
    """Make all annotations known to Sphinx."""
    import_for_type_checkers()
    resolve_fields()


def import_for_type_checkers() -> None:
    """Import what modules import under ``if TYPE_CHECKING:``, for annotations to be resolved."""
    for module in list(modules()):
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                code = compile(ast.Module(node.body, []), module.__file__, "exec")
                exec(code, vars(module))


def resolve_fields() -> None:
    """Resolve the annotations of named tuples, whose constructors know no module's names."""
    for module in list(modules()):
        for member in vars(module).values():
            if inspect.isclass(member) and hasattr(member, "_fields"):
                member.__new__.__annotations__ = get_type_hints(member)


def leave_out_signal(app, what, name, obj, options, lines: list[str]) -> None:
    """Take the first argument, which is the signal itself, out of the docstring of the method.

    Constants have the docstring of their type, which says nothing of them.
    """
    if what == "data":
        lines[:] = [] if inspect.getdoc(obj) == inspect.getdoc(type(obj)) else lines
    if name != METHOD:
        return
    first = lines.index("signal")
    end = next(i for i in range(first + 1, len(lines)) if not lines[i].startswith(" "))
    del lines[first:end]


def write_factories(app, what, name, obj, options, signature: str | None, returned: str | None):
    """Write defaults that a dataclass makes anew in a way that Sphinx can read."""
    return (signature and signature.replace("<factory>", "...")), returned


def choose_members(app, what, name, obj, skip, options) -> bool | None:
    """List what enumerations have, and leave out fields of named tuples and what is built in.

    The class describes fields as parameters.
    """
    if isinstance(obj, Enum):
        return False
    kinds = (inspect.isbuiltin, inspect.isgetsetdescriptor, inspect.ismethoddescriptor)
    built_in = any(is_of_kind(obj) for is_of_kind in kinds)
    return True if built_in or type(obj).__name__ == "_tuplegetter" else None


def resolve_other_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """Lead a reference by another name of an object to its page."""
    if node.get("refdomain") != "py":
        return None
    domain = env.get_domain("py")
    documented = _documented(domain.objects)
    target = node["reftarget"]
    inside = ".".join(filter(None, (node.get("py:module"), node.get("py:class"))))
    for name in (target, f"{node.get('py:module')}.{target}", f"{inside}.{target}"):
        owner, _, field = name.rpartition(".")
        page = documented.get(_identity(imported(name)))
        if page is None and field in getattr(imported(owner), "__annotations__", ()):
            page = documented.get(_identity(imported(owner)))
        if page is not None:
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", page, node, content)
    return None if imported(target) is None else content


def imported(name: str) -> object | None:
    """What a full name means in the package, or None."""
    if not name.startswith("kikuchipy_cnn."):
        return None
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        module = sys.modules.get(".".join(parts[:n]))
        if module is None:
            continue
        member = module
        for part in parts[n:]:
            member = inspect.getattr_static(member, part, None)
            if member is None:
                # Names of a package that imports lazily.
                return getattr(module, parts[n], None) if n == len(parts) - 1 else None
        return member
    return None


def check_all_documented(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of public names that have no page."""
    objects = env.get_domain("py").objects
    documented = _documented(objects)
    for name, member in public_names().items():
        if name not in objects and _identity(member) not in documented:
            _logger.warning("%s is public, and not in docs/reference", name, location="reference")
    if METHOD not in objects:
        _logger.warning("%s is not in docs/reference", METHOD, location="reference")


def lead_back_from_source(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    """Mend the links "[docs]" of a page of source code.

    Sphinx takes one module for all names in a file, but not all of them are documented in the same.
    """
    if not page.startswith("_modules/kikuchipy_cnn"):
        return
    module = page.removeprefix("_modules/").removesuffix("/index").replace("/", ".")
    objects = app.env.get_domain("py").objects
    documented = _documented(objects)

    def mended(match: re.Match) -> str:
        name = documented.get(_identity(imported(f"{module}.{match['name']}")))
        if name is None:
            return match[0]
        uri = app.builder.get_relative_uri(page, objects[name].docname)
        return f'{match["before"]}{uri}#{objects[name].node_id}"'

    context["body"] = _LINK_BACK.sub(mended, context["body"])


def _documented(objects: dict) -> dict[object, str]:
    """Full names that have a place in the reference, by identity of what they name."""
    found = {}
    for name, entry in objects.items():
        member = None if entry.aliased else imported(name)
        if member is not None:
            found.setdefault(_identity(member), name)
    return found


def _identity(member: object) -> object:
    """What tells an object from all others: constants may be equal and have no name."""
    return id(inspect.unwrap(member) if callable(member) else member)
