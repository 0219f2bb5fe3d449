"""Matplotlib's SVG files made fit for a page: own ids, page colours, arms to point at, no outside names. Pure."""

import re

from markupsafe import Markup, escape

from reports.figures.style import BASELINE_COLOUR, GRID, INK

_PAGE_COLOURS = {INK: "var(--ink)", BASELINE_COLOUR: "var(--ink)", GRID: "var(--line)"}


def inline(text: str, name: str, label: str) -> Markup:
    """An SVG document as markup for inside HTML.

    Parameters
    ----------
    text : the SVG document
    name : prefix that keeps its ids apart from other figures'
    label : what the figure shows, for screen readers

    A group with the id `point-<number>[-<panel>]` becomes a `.point` of that arm, for the page's tooltips; so does each
    marker of a `cloud-<number>.<number>...-<panel>`.
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
    body = re.sub(rf'(<g id="{re.escape(name)}-point-(\d+)(?:-\w+)?")>', r'\1 class="point" data-arm="\2">', body)
    body = re.sub(rf'<g id="{re.escape(name)}-cloud-([\d.]+)-(\w+)">.*?</g>\s*</g>', _spread, body, flags=re.DOTALL)
    return Markup(body)


def _spread(cloud: re.Match[str]) -> str:
    """Give each marker of a cloud the number of its arm."""
    numbers = iter(cloud[1].split("."))
    body = cloud[0].replace(cloud[1], "", 1)
    return re.sub(r"<use ", lambda _: f'<use class="point" data-arm="{next(numbers)}" ', body)
