"""A page as one file: for a browser, in light and in dark, and as Markdown."""

import html
import re
from collections.abc import Sequence

from omniformer.pages.blocks import Picture, Section, Words

_STYLE = """
:root { color-scheme: light dark; --paper: #fcfcfa; --ink: #23272e; --soft: #6a7280; --line: #dfe1e4; --tint: #f1f2f0;
  --accent: #2f6f9f; --bad: #b4472f; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181c; --ink: #e2e4e8; --soft: #98a0ad; --line: #333840; --tint: #1f2227; --accent: #7fb4dc;
    --bad: #e58a72; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2.5rem 1.5rem 5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; font-weight: 650; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; margin: 2.8rem 0 .8rem; padding-top: .9rem; border-top: 1px solid var(--line); }
h4 { font-size: .8rem; margin: .5rem 0 .2rem; font-weight: 600; }
h1, h2, h4, .lead, nav a { overflow-wrap: anywhere; }
p { margin: .4rem 0; max-width: 46rem; }
.lead, figcaption, caption { color: var(--soft); }
nav { margin: 1.2rem 0 0; font-size: .88rem; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; }
nav a { color: var(--accent); text-decoration: none; }
nav a:hover { text-decoration: underline; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .88rem; }
caption { text-align: left; font-size: .85rem; padding-bottom: .3rem; }
th { text-align: left; font-weight: 600; border-bottom: 1px solid var(--soft); vertical-align: bottom; }
td { border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; max-width: 28rem; }
th, td { padding: .3rem 1.1rem .3rem 0; }
@media (max-width: 40rem) { td:not(.n) { min-width: 8rem; } }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 1rem 0; }
figure svg { max-width: 100%; height: auto; }
figure.small { display: inline-block; margin: .6rem 1.4rem .6rem 0; vertical-align: top; max-width: 100%; }
figcaption { font-size: .85rem; margin-top: .2rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; font: inherit; }
.command { font: .85rem/1.5 ui-monospace, Menlo, Consolas, monospace; background: var(--tint); padding: .8rem 1rem;
  border-radius: 6px; }
.marked { max-width: 46rem; line-height: 2; overflow-wrap: anywhere; white-space: pre-wrap; }
mark { color: inherit; padding: .12em .2em; border-radius: 3px;
  background: color-mix(in srgb, var(--accent) calc(var(--share) * .75), transparent); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(13.5rem, 1fr)); gap: 1rem; margin: 1rem 0; }
.card { background: var(--tint); border-radius: 8px; padding: .8rem; min-width: 0; border-top: 3px solid var(--line); }
.card.wrong { border-top-color: var(--bad); }
.card p { font-size: .82rem; margin: .1rem 0; overflow-wrap: anywhere; }
.card pre { font-size: .84rem; max-height: 14rem; overflow: auto; }
.card img { display: block; max-width: 100%; image-rendering: pixelated; border-radius: 4px; }
.card svg { display: block; max-width: 100%; height: auto; }
.card audio { width: 100%; height: 2rem; margin-top: .3rem; }
.more { color: var(--soft); font-size: .78rem; }
"""


def html_page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """A whole page; it asks nobody for anything.

    Args:
        title: above it.
        lead: a line below the title.
        sections: in order; with a list of links to them.
    """
    links = "".join(f'<a href="#{_anchor(each)}">{html.escape(each.title)}</a>' for each in sections)
    parts = [
        f'<section id="{_anchor(each)}"><h2>{html.escape(each.title)}</h2>\n'
        + "\n".join(block.html() for block in each.blocks)
        + "</section>\n"
        for each in sections
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n<body>'
        f"<h1>{html.escape(title)}</h1><p class=lead>{html.escape(lead)}</p>\n"
        f"<nav>{links if len(sections) > 1 else ''}</nav>\n{''.join(parts)}</body></html>\n"
    )


def markdown_page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The same as Markdown, without its pictures; titles too are text, whatever signs stand there."""
    parts = [f"# {Words(title).markdown()}", Words(lead).markdown()]
    for section in sections:
        told = [block.markdown() for block in section.blocks if not isinstance(block, Picture)]
        drawn = [block for block in section.blocks if isinstance(block, Picture)]
        parts += [f"## {Words(section.title).markdown()}", *told, *(each.markdown() for each in drawn)]
    return "\n\n".join(parts) + "\n"


def _anchor(section: Section) -> str:
    return re.sub(r"\W+", "-", section.title.lower()).strip("-")
