"""Matplotlib's SVG files made fit to stand inside a page: own ids, page colours, tooltips, no outside names. Pure."""

import re
from collections.abc import Mapping

from markupsafe import Markup, escape

from reports.figures.style import BASELINE_COLOUR, GRID, INK

_PAGE_COLOURS = {INK: "var(--ink)", BASELINE_COLOUR: "var(--ink)", GRID: "var(--line)"}


def inline(text: str, name: str, label: str, titles: Mapping[int, str]) -> Markup:
    """An SVG document as markup for inside HTML.

    Parameters
    ----------
    text : the SVG document
    name : prefix that keeps its ids apart from other figures'
    label : what the figure shows, for screen readers
    titles : tooltip of each group with the id `point-<number>[-<panel>]`
    """
    body = text[text.index("<svg") :]
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    opening = rf'<svg viewBox="\1" role="img" aria-label="{escape(label)}">'
    body = re.sub(r'<svg[^>]*?viewBox="([^"]*)"[^>]*>', opening, body)
    body = re.sub(r' xmlns(:\w+)?="[^"]*"', "", body).replace("xlink:href", "href")
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", body)
    for colour, variable in _PAGE_COLOURS.items():
        body = re.sub(colour, variable, body, flags=re.IGNORECASE)
    for number, title in titles.items():
        pattern = rf'(<g id="{re.escape(name)}-point-{number}(?:-\d+)?")>'
        inner = str(escape(title)).replace("\\", "\\\\")
        body = re.sub(pattern, rf'\1 class="point"><title>{inner}</title>', body)
    return Markup(body)
