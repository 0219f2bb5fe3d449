"""`python -m docs.generate [FOLDER]`: write every generated page and picture, by default into docs/."""

import argparse
from pathlib import Path

from docs.generate import commands, configuration, records
from docs.generate.pictures import PICTURES, svg

DOCS = Path(__file__).parents[1]


def files() -> dict[str, str]:
    """Return the text of every generated file, by its path below docs/."""
    pages = {f"reference/{page.NAME}.md": page.text() for page in (commands, configuration, records)}
    return pages | {f"figures/{name}.svg": svg(draw) for name, draw in PICTURES.items()}


def main(folder: Path) -> None:
    """Write them below `folder`; what has not changed keeps its bytes."""
    for name, text in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m docs.generate", description="Write every generated page and picture."
    )
    parser.add_argument("folder", nargs="?", type=Path, default=DOCS, help="where to write; docs/ by default")
    main(parser.parse_args().folder)
