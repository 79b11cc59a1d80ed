"""What the site has beside the pages of docs/: called by mkdocs, see mkdocs.yml.

Pages that stand elsewhere in the repository (CONTRIBUTING.md and the like) join, a reference page is made for each room
out of its docstrings, and links of the repository become links of the site. Nothing of the project is imported.
"""

import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parents[1]
ELSEWHERE = {  # page of the site: where it is written
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "security.md": "SECURITY.md",
    "core_parts.md": "omniformer/core/README.md",
    "core_variants.md": "omniformer/core/variants/README.md",
    "tokenizers_alone.md": "tokenizers/README.md",
}
ROOMS = {  # page of the reference: title, and the modules or packages that it shows
    "using": ("Load, predict, save", ["folder", "predictor", "prediction", "embeddings"]),
    "model": ("Model and batch", ["model", "batch", "inputs.member"]),
    "tokenizers": ("Tokenizers", ["omniformer_tokenizers"]),
    "core": ("Core", ["core"]),
    "embedders": ("Embedders", ["embedders"]),
    "heads": ("Heads", ["heads"]),
    "tasks": ("Tasks", ["tasks"]),
    "data": ("Data", ["data"]),
    "training": ("Training", ["training"]),
    "parallel": ("Many processes", ["parallel"]),
    "generation": ("Generation", ["generation"]),
    "pretrained": (
        "Published models",
        ["pretrained.loading", "pretrained.pretrained", "pretrained.family", "pretrained.families"],
    ),
    "finetuning": ("Fine-tuning", ["finetuning", "adapters"]),
    "inspection": ("Inspection", ["inspection"]),
}
LINK = re.compile(r"\]\((?!\w+:)([^)\s#]+)(#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Has a version of the site offer the others; a site that stands alone would ask for a list that is not there."""
    if "MIKE_DOCS_VERSION" in os.environ:
        config.extra["version"] = {"provider": "mike"}
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that docs/ does not hold."""
    for page, path in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(REPOSITORY / path).read_text(encoding="utf-8")))
    for page, (title, rooms) in ROOMS.items():
        shown = [f"::: {module}" for room in rooms for module in modules(room)]
        files.append(File.generated(config, f"reference/{page}.md", content="\n\n".join([f"# {title}", *shown])))
    return files


def modules(room: str) -> list[str]:
    """The public modules of a room that define something, packages within it too, by name.

    Raises:
        PluginError: there is no such room.
    """
    top, name = ("tokenizers/", room) if room.startswith("omniformer_tokenizers") else ("", f"omniformer.{room}")
    path = REPOSITORY / (top + name.replace(".", "/"))
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    if not files or not files[0].is_file():
        raise PluginError(f"scripts/site.py: the room {room!r} of the reference is nowhere; it may have moved")
    own = [file.relative_to(REPOSITORY / top).with_suffix("").parts for file in files if defines(file)]
    return [".".join(parts) for parts in own if not any(part.startswith("_") for part in parts)]


def defines(file: Path) -> bool:
    """Whether a file has a class or function that others may use."""
    return re.search(r"^(class|def) [^_]", file.read_text(encoding="utf-8"), re.MULTILINE) is not None


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads the links of a page to where things are in the site.

    Raises:
        PluginError: a link leads to nothing, or to a file that the site does not show.
    """
    here = page.file.src_uri
    written = ELSEWHERE.get(here, f"docs/{here}")
    pages = {path: name for name, path in ELSEWHERE.items()} | {"README.md": "index.md"}
    shown = {module: name for name, (_, rooms) in ROOMS.items() for room in rooms for module in modules(room)}

    def moved(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(written), link[1]))
        module = path.removesuffix(".py").replace("/", ".")
        anchor = link[2] or ""
        if path in pages:
            to = pages[path]
        elif path.removeprefix("docs/") in files.src_uris:
            to = path.removeprefix("docs/")
        elif module in shown:
            to, anchor = f"reference/{shown[module]}.md", f"#{module}"
        else:
            raise PluginError(f"{written}: the link to {link[1]!r} leads to nothing that the site shows")
        return f"]({posixpath.relpath(to, posixpath.dirname(here) or '.')}{anchor})"

    return LINK.sub(moved, markdown)
