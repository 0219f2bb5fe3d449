"""`lanewise methods`: the table of regularizers and pruners."""

import json
import textwrap
from typing import Any

import click

from bench.cli.text import aligned
from bench.errors import UsageError, did_you_mean
from bench.sparsity.catalogue import MethodInfo, Option, every

WIDTH = 110


@click.command(name="methods", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="One list of flat rows on stdout.")
def command(name: str | None, as_json: bool) -> None:
    """List the methods that make a network sparse; with NAME, everything known of one.

    A regularizer (`reg.kind`) pulls groups of weights to zero, a pruner (`prune.kind`) chooses which are kept; an arm
    has one of each, or either. Every method works on the tiles of any structure (docs/methods.md), gets the same steps
    and data, and its main hyper-parameter is tuned over a grid of equal size (`tune.size`).

    \b
    Examples:
      lanewise methods
      lanewise methods rigl
      lanewise methods --json | jq '.[] | {name, main, low, high}'
    """
    found = [method for method in every() if name in (None, method.name)]
    if not found:
        known = [method.name for method in every()]
        raise UsageError(f"no method {name!r}{did_you_mean(name, known)}; there are: {', '.join(known)}")
    if as_json:
        click.echo(json.dumps([row(method) for method in found], indent=1))
    elif name is None:
        click.echo(aligned([["role", "name", "main, from .. to", "what it does"], *map(_line, found)]))
    else:
        click.echo("\n\n".join(_page(method) for method in found))


def row(method: MethodInfo) -> dict[str, Any]:
    """Return one method as a flat row."""
    return {
        "role": method.role,
        "name": method.name,
        "summary": method.summary,
        "source": method.source,
        "cost": method.cost,
        "main": method.main.key,
        "low": method.main.low,
        "high": method.main.high,
        "options": {key: option.default for key, option in method.options.items()},
        "weights": method.weights,
        "lambda": method.strength if method.role == "regularizer" and method.weights else "none",
        "units": method.units,
        "calibrated": method.calibrated,
        "schedules": list(method.schedules),
    }


def _line(method: MethodInfo) -> list[str]:
    main = method.main
    return [method.role, method.name, f"{main.key} {main.low:g} .. {main.high:g}", method.summary]


def _page(method: MethodInfo) -> str:
    section = "reg" if method.role == "regularizer" else "prune"
    needs = ["second moments of the inputs, from training segments"] if method.calibrated else []
    facts = [
        ("kind", f"{section}.kind: {method.name}"),
        ("source", method.source),
        ("cost", method.cost),
        ("tuned", f"{method.main.key} from {method.main.low:g} to {method.main.high:g}"),
        ("needs", ", ".join(needs) or "nothing beside the weights"),
        ("hidden units", "yes" if method.units else "no: tiles only" if method.weights else "no: acts on no weights"),
    ]
    if method.role == "regularizer" and method.weights:
        allowed = {"controlled": "a number, or controlled", "number": "a number", "none": "none"}
        facts.append(("reg.lambda", allowed[method.strength]))
    if method.role == "pruner":
        facts.append(("schedules", ", ".join(method.schedules)))
    lines = [f"{method.name}: {method.summary}", *(_fact(*fact) for fact in facts)]
    lines += [_fact(f"{section}.options.{key}", option_text(option)) for key, option in method.options.items()]
    return "\n".join(lines)


def _fact(key: str, text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=f"  {key}: ", subsequent_indent="    ")


def option_text(option: Option) -> str:
    """Return an option's meaning, what it may be and its default."""
    if option.choices:
        allowed = ", ".join(option.choices)
    elif isinstance(option.default, bool):
        allowed = "true, false"
    else:
        allowed = f"{option.low:g} to {option.high:g}"
    default = str(option.default).lower() if isinstance(option.default, bool) else option.default
    return f"{option.meaning} ({allowed}; default {default})"
