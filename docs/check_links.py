"""Check the links within the built site: ``python docs/check_links.py docs/_build/html``.

Every link to a page, file or image of the site leads somewhere, every anchor is there, no link
leaves the site by a path of this machine, and every image has an alternative text. Addresses on the
internet are not visited.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Made by scripts of the theme when a page is shown, or anchors that browsers know by themselves.
_ANCHORS_OF_BROWSERS = ("", "top")


class Page(HTMLParser):
    """Anchors, links and images of a page.

    Parameters
    ----------
    path
        File of the page.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.images_without_text: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note what a tag has."""
        values = {name: value or "" for name, value in attributes}
        self.anchors.update(values[name] for name in ("id", "name") if name in values)
        self.links += [values[name] for name in ("href", "src") if name in values]
        for source in values.get("srcset", "").split(","):
            self.links += source.split()[:1]
        if tag == "img" and not values.get("alt", "").strip():
            self.images_without_text.append(values.get("src", ""))

    handle_startendtag = handle_starttag


def problems_of(site: Path) -> list[str]:
    """Describe what is wrong with the links and images of a site.

    Parameters
    ----------
    site
        Folder of the built pages.

    Returns
    -------
    problems
        One line each.
    """
    site = site.resolve()
    # The theme keeps a template of its own among the static files.
    files = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    pages = {path: Page(path) for path in files}
    problems = []
    for path, page in pages.items():
        where = path.relative_to(site)
        problems += [f"{where}: no alternative text: {image}" for image in page.images_without_text]
        for link in dict.fromkeys(page.links):
            if (problem := problem_of(link, path, site, pages)) is not None:
                problems.append(f"{where}: {problem}: {link}")
    return problems


def problem_of(link: str, path: Path, site: Path, pages: dict[Path, Page]) -> str | None:
    """Say what is wrong with a link.

    Parameters
    ----------
    link
        Link, as it is written.
    path
        Page that it is on.
    site
        Folder of the site.
    pages
        All pages by their files.

    Returns
    -------
    problem
        Text, or None if it is right or leads to the internet.
    """
    parts = urlsplit(link)
    if parts.scheme not in ("", "file") or parts.netloc:
        return None
    if parts.scheme == "file" or parts.path.startswith("/"):
        return "path of a machine"
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(site):
        return "leads out of the site"
    if not target.is_file():
        return "no such file"
    anchor = unquote(parts.fragment)
    if target in pages and anchor not in pages[target].anchors:
        return None if anchor in _ANCHORS_OF_BROWSERS else "no such anchor"
    return None


def main() -> int:
    """Print what is wrong, and return the exit status."""
    site = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "_build" / "html"
    n_pages = len(list(site.rglob("*.html")))
    if not n_pages:
        print(f"There are no pages in {site}: build them first.")
        return 2
    problems = problems_of(site)
    print("\n".join(problems + [f"{n_pages} pages, {len(problems)} problems"]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
