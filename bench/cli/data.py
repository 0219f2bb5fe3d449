"""`lanewise data`: list, fetch, check and prepare corpora."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from bench.errors import LanewiseError, UsageError
from bench.progress import say


@click.group(name="data", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """List, fetch, check and prepare corpora.

    \b
    Examples:
      lanewise data list
      lanewise data check embedded
      lanewise data prepare --resample LJSpeech-1.1 --out LJSpeech-1.1-16k
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print rows as JSON on stdout.")
def list_(as_json: bool) -> None:
    """Show which corpora can be read, their terms, and the embedded one's splits.

    \b
    Examples:
      lanewise data list
      lanewise data list --json | jq -r '.[].spec'
    """
    from bench.data.corpus import SPLITS, load_corpus
    from bench.data.sources import SOURCES

    rows: list[dict[str, object]] = []
    for source in SOURCES:
        row: dict[str, object] = {"name": source.name, "spec": source.spec}
        row |= {"speech": source.speech, "licence": source.licence}
        corpus = load_corpus("embedded") if source.name == "embedded" else None
        for split in SPLITS:
            row[f"{split}_clips"] = len(corpus.split(split)) if corpus else None
            row[f"{split}_seconds"] = round(corpus.seconds(split), 3) if corpus else None
        rows.append(row)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        say(f"{row['spec']:<17} {row['speech']}")
        say(f"{'':<17} licence: {row['licence']}")
        if row["train_clips"] is not None:
            splits = ", ".join(f"{split} {row[f'{split}_clips']} clips {row[f'{split}_seconds']} s" for split in SPLITS)
            say(f"{'':<17} {splits}")


@command.command()
@click.argument("name", type=click.Choice(["embedded", "ljspeech", "jsut", "folder", "noise", "voicebank", "dns"]))
@click.option(
    "--deb",
    type=click.Path(path_type=Path),
    help="Debian package that you downloaded: build the embedded corpus from it (needs --out).",
)
@click.option("--out", type=click.Path(path_type=Path), help="New folder for the corpus built from --deb.")
def fetch(name: str, deb: Path | None, out: Path | None) -> None:
    """Say how to get a corpus. Lanewise downloads none itself: their hosts and terms are theirs.

    \b
    Examples:
      lanewise data fetch ljspeech
      lanewise data fetch embedded --deb asterisk-core-sounds-en-g722_1.6.1-1_all.deb --out allison
    """
    from bench.data.sources import SOURCES

    if deb is not None:
        if name != "embedded":
            raise UsageError(f"--deb builds the embedded corpus only; `lanewise data fetch {name}` says what to do")
        _prepare_embedded(deb, out, as_json=False)
        return
    source = next(source for source in SOURCES if source.name == name)
    say(f"{source.spec}: {source.speech}")
    say(f"Licence: {source.licence}")
    for step in source.steps:
        say(f"  {step}")


@command.command()
@click.argument("spec", default="embedded")
@click.option(
    "--wording/--no-wording",
    default=None,
    help="Search for wording that splits share (by default up to 2 hours of speech).",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON on stdout.")
def check(spec: str, wording: bool | None, as_json: bool) -> None:
    """Read a whole corpus and name every problem; exit 1 if there is one.

    SPEC is embedded, folder:PATH, ljspeech:PATH or jsut:PATH.

    \b
    Examples:
      lanewise data check embedded
      lanewise data check folder:recordings-16k --json
    """
    from bench.data.check import check as check_corpus
    from bench.data.corpus import load_corpus
    from bench.data.wording import SAME_WORDING

    findings = check_corpus(load_corpus(spec), wording)
    for split, clips in findings.clips.items():
        say(f"{split:<6} {clips:>6} clips {findings.seconds[split]:>10.1f} s")
    say(f"content hash {findings.content_hash}")
    if findings.wording_searched:
        say(f"closest wording across splits (the same below {SAME_WORDING:.2f}):")
        for match in findings.closest_wording:
            other = f"{match.other_clip} ({match.other_split})"
            say(f"  {match.distance:.3f}  {match.clip} ({match.split}) at {match.start_s:.1f} s ~ {other}")
    else:
        say("wording across splits: not searched (--wording does it; the time grows with the square of the length)")
    for problem in findings.problems:
        say(f"problem: {problem}")
    if as_json:
        click.echo(json.dumps(asdict(findings), indent=2))
    if findings.problems:
        raise LanewiseError(f"{spec}: {len(findings.problems)} problem(s), listed above")
    say("no problem found")


@command.command()
@click.argument("source", required=False, type=click.Path(path_type=Path))
@click.option(
    "--resample",
    "to_resample",
    type=click.Path(path_type=Path),
    help="Instead: make a 16 kHz copy of this folder of recordings (LJSpeech and JSUT layouts are kept).",
)
@click.option("--out", type=click.Path(path_type=Path), help="New folder to write.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON on stdout.")
def prepare(source: Path | None, to_resample: Path | None, out: Path | None, as_json: bool) -> None:
    """Build the embedded corpus from SOURCE, or make a 16 kHz copy of another.

    SOURCE is the Debian package asterisk-core-sounds-en-g722 (a .deb file) or the folder it was unpacked into.

    \b
    Examples:
      lanewise data prepare asterisk-core-sounds-en-g722_1.6.1-1_all.deb --out allison
      lanewise data prepare --resample LJSpeech-1.1 --out LJSpeech-1.1-16k
    """
    if (source is None) == (to_resample is None):
        raise UsageError("give either SOURCE (the Debian package) or --resample FOLDER; see `lanewise data prepare -h`")
    if source is not None:
        _prepare_embedded(source, out, as_json)
        return
    from bench.data.resample import resample_folder

    assert to_resample is not None
    done = resample_folder(to_resample, _needed(out))
    say(f"{done.root}: {done.clips} clips, {done.seconds:.1f} s at 16 kHz")
    for clip in done.attenuated:
        say(f"scaled to a peak of 0.999, else it would clip: {clip}")
    if as_json:
        row = {"out": str(done.root), "clips": done.clips, "seconds": done.seconds, "attenuated": done.attenuated}
        click.echo(json.dumps(row, indent=2))


@command.command()
@click.argument("packages", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON on stdout.")
def noise(packages: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Build the embedded noise set from its five Debian packages.

    \b
    Examples:
      apt-get download megaglest-data asterisk-moh-opsound-g722 asterisk-core-sounds-{fr,it,ru}-g722
      lanewise data noise *.deb --out noise
    """
    from bench.data.noise_prepare import prepare_noise

    done = prepare_noise(list(packages), out)
    for (kind, split), seconds in sorted(done.seconds().items()):
        say(f"{kind:<12} {split:<6} {seconds:>8.1f} s")
    if as_json:
        click.echo(json.dumps({"out": str(done.root), "recordings": done.rows}, indent=2))


@command.command()
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder for noisy/ and clean/.")
def mix(table: Path, out: Path) -> None:
    """Make noisy and clean pairs from a list of mixtures.

    TABLE is a csv file with the columns id,speech,noise,start_s,snr_db: two recordings (paths from the table's folder),
    where in the noise to start, and the ratio. A column level_db sets the speech's level; without it the recording's
    own level stays.

    \b
    Examples:
      lanewise data mix mixtures.csv --out pairs
      lanewise score pairs/clean pairs/noisy --metrics si_sdr,pesq_wb
    """
    from bench.data.audio import write_wav
    from bench.data.mixture_list import read_mixture_list
    from bench.progress import track

    if out.exists():
        raise UsageError(f"{out}: exists already; name a new folder with --out")
    pairs = read_mixture_list(table)
    for pair in track(pairs, "mixing", len(pairs)):
        for part, audio in zip(("noisy", "clean"), pair.load(), strict=True):
            write_wav(out / part / f"{pair.id}.wav", audio)
    say(f"{out}: {len(pairs)} pairs in noisy/ and clean/")


def _needed(out: Path | None) -> Path:
    if out is None:
        raise UsageError("--out is missing: name the new folder to write, e.g. --out corpus-16k")
    return out


def _prepare_embedded(source: Path, out: Path | None, as_json: bool) -> None:
    from bench.data.prepare import prepare as prepare_package

    done = prepare_package(source, _needed(out))
    seconds = done.seconds()
    for reason in sorted(set(done.left_out.values())):
        say(f"left out, {reason}: {sum(found == reason for found in done.left_out.values())} clips")
    say(f"{done.root}: " + ", ".join(f"{split} {seconds[split]:.1f} s" for split in sorted(seconds)))
    if as_json:
        click.echo(json.dumps({"out": str(done.root), "clips": done.rows, "left_out": done.left_out}, indent=2))
