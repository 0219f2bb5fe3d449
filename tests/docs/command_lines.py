"""Command lines of the documentation: where they stand, and whether `lanewise` would take them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import click

from bench.cli.main import cli
from docs.generate.commands import tree

ROOT = Path(__file__).parents[2]
LANGUAGES = ("sh", "text", "yaml", "python", "cmake")
PROGRAMS = ("lanewise", "make", "docker", "kubectl", "cmake", "cc", "pip", "apt", "apt-get", "export", "cp")
FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"\s{2,}# .*$")


@dataclass(frozen=True)
class Line:
    """One command line: the document that it stands in, and what it says."""

    document: str
    text: str

    @property
    def program(self) -> str:
        """Its first word."""
        return self.text.split()[0]


def documents() -> list[Path]:
    """Return every page that tells people what to type."""
    found = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("docker/*.md"), *ROOT.glob("bench/**/*.md")]
    return sorted(found)


def name(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def blocks(text: str) -> list[tuple[str, str]]:
    """Return the fenced blocks of a page: language, content."""
    return FENCE.findall(text)


def commands(text: str) -> list[str]:
    """Return every line of the `sh` blocks of a page, without its comment, continuations joined."""
    found = []
    for language, content in blocks(text):
        if language == "sh":
            rows = re.sub(r" *\\\n *", "  ", content).splitlines()
            found += [_COMMENT.sub("", row).strip() for row in rows if not row.startswith("#")]
    return [row for row in found if row]


def hidden(text: str, allowed: tuple[str, ...] = ()) -> list[str]:
    """Return what could be a command line that `commands` does not see; blocks of the languages `allowed` may be."""
    found = [f"```{language}" for language, _ in blocks(text) if language not in LANGUAGES]
    found += re.findall(r"^(?:[ \t]+```|\s*~~~).*$", text, re.MULTILINE)
    for language, content in blocks(text):
        if language != "sh" and language not in allowed:
            found += [row for row in content.splitlines() if row.split()[:1] and row.split()[0] in PROGRAMS]
    indented = re.findall(r"^(?: {4}|\t).*$", FENCE.sub("", text), re.MULTILINE)
    return found + [row for row in indented if row.split()[0] in PROGRAMS]


def lines(document: Path) -> list[Line]:
    """Return the command lines of a page."""
    return [Line(name(document), text) for text in commands(document.read_text(encoding="utf-8"))]


def files(document: Path) -> dict[str, str]:
    """Return the files that a page holds as a whole, by the name that their first line gives them."""
    found = {}
    for language, content in blocks(document.read_text(encoding="utf-8")):
        first = re.match(r"# ([\w/.-]+\.(?:py|yaml))\n", content)
        if language in ("python", "yaml") and first:
            found[first[1]] = content
    return found


def inline(document: Path) -> list[str]:
    """Return the commands named in running text: inline code that begins with `lanewise`."""
    prose = FENCE.sub("", document.read_text(encoding="utf-8"))
    found = [" ".join(text.split()) for text in re.findall(r"`([^`]+)`", prose)]
    return [text for text in found if text.startswith("lanewise ")]


def check_inline(text: str) -> None:
    """Check that a command named in running text exists and has the options given; arguments may be placeholders."""
    command, words = _resolve(shlex.split(text)[1:])
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [word for word in words if word.startswith("-") and word not in known | {"--help", "-h"}]
    assert not unknown, f"{text}: no option {', '.join(unknown)}"


def check_arguments(words: list[str]) -> None:
    """Check that `lanewise` with these arguments is a call that click takes; files need not exist."""
    command, arguments = _resolve(words)
    try:
        top = click.Context(
            cli, **cli.context_settings
        )  # a command keeps the names of --help that it is first asked for
        command.parse_args(click.Context(command, parent=top, info_name=" ".join(words)), list(arguments))
    except click.exceptions.Exit:
        pass  # --help and --version
    except click.BadParameter as error:
        if "does not exist" not in error.message:
            raise


def examples() -> list[str]:
    """Return the command lines that the help of any command shows."""
    found = []
    for _, command in tree():
        text = re.sub(r"\\\s*\n\s+", " ", command.help or "")
        found += [line.split("  (")[0].strip() for line in text.splitlines() if re.match(r"\s*lanewise \S", line)]
    return found


def arguments(text: str) -> list[str]:
    """Return the words after `lanewise`, up to the first pipe or redirection."""
    words = shlex.split(text)[1:]
    ends = [place for place, word in enumerate(words) if word in ("|", ">", "<")]
    return words[: ends[0]] if ends else words


def _resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no command {words[0]!r} in lanewise {' '.join(words)}"
        command, words = found, words[1:]
    return command, words
