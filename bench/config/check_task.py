"""What a configuration leaves to its task: defaults, the shape of the network, and keys that only one task has."""

from pathlib import Path

from bench.config.checkpoints import architecture_of, computes_in_integers
from bench.config.findings import Findings
from bench.config.matrices import EnhancerShape, Shape, VocoderShape
from bench.config.schema import Quant, TrialConfig
from bench.config.yaml_lines import did_you_mean
from bench.errors import LanewiseError

INITS = {
    "vocoder": ("shipped", "shipped-small", "dense", "scratch"),
    "enhancer": ("shipped", "shipped-small"),
}
METRICS = {
    "vocoder": ("pesq_wb", "stoi", "estoi", "mcd_db", "logf0_rmse", "voicing_error", "mrstft", "visqol", "dnsmos"),
    "enhancer": ("si_sdr", "sdr", "pesq_wb", "stoi", "estoi", "dnsmos"),
}
"""Sound metrics that `measure.metrics: all` stands for."""
MODEL_KEYS = ("hidden", "head", "mixtures", "causal", "cell")
CORPORA = {
    "vocoder": ("folder", "ljspeech", "jsut"),
    "enhancer": ("folder", "ljspeech", "jsut", "voicebank", "dns"),
}

NOISY = ("voicebank:", "dns:")
"""Corpora that are noisy already."""


def with_defaults(config: TrialConfig, shape: Shape | None) -> TrialConfig:
    """Return the configuration with what the task, and the shape of its model, say where nothing was said."""
    prune, measure = config.prune, config.measure
    own: dict[str, object] = {}
    if not prune.matrices:
        everything = tuple((shape or EnhancerShape()).matrices())
        named = ("gru.recurrent",) if config.task == "vocoder" else everything
        own["prune"] = prune.model_copy(update={"matrices": named})
    if measure.metrics == ("all",):
        own["measure"] = measure.model_copy(update={"metrics": METRICS[config.task]})
    return config.model_copy(update=own)


def shape_of(config: TrialConfig, complain: Findings) -> Shape | None:
    """Return the shape of the model: what its checkpoint has, or what the configuration asks for."""
    asked = {key: value for key, value in config.model.model_dump(include=set(MODEL_KEYS)).items() if value is not None}
    init = config.model.init
    if config.task == "vocoder" and init in ("dense", "scratch"):
        return VocoderShape(**{key: value for key, value in asked.items() if key != "cell"})
    if config.task == "enhancer" and init in ("dense", "scratch"):
        complain("model.init", f"got {init!r}, but an enhancer starts from a checkpoint: `lanewise train-enhancer`")
        return None
    try:
        shape = architecture_of(init, config.task)
    except LanewiseError as error:
        known = INITS[config.task]
        hint = did_you_mean(init, known)
        complain("model.init", f"{error}{hint}; expected {', '.join(known)} or the path of a checkpoint")
        return None
    if config.task == "enhancer" and config.quant.kind == "none" and computes_in_integers(init):
        complain("quant.kind", f"got 'none', but the checkpoint `model.init: {init}` computes in int8; set it to int8")
    for key, value in asked.items():
        if hasattr(shape, key) and value != getattr(shape, key):
            complain(
                f"model.{key}",
                f"got {value}, but the checkpoint `model.init: {init}` has {getattr(shape, key)}; "
                "leave the key out, or train another model",
            )
    return shape


def model_update(shape: Shape | None) -> dict[str, object]:
    """Return the `model` keys that a shape settles."""
    return {key: getattr(shape, key) for key in MODEL_KEYS if hasattr(shape, key)}


def check_task(config: TrialConfig, complain: Findings) -> None:
    """Refuse what only the other task has, and check the data."""
    _check_corpus(config, complain)
    for metric in config.measure.metrics:
        allowed = METRICS[config.task]
        if metric not in allowed:
            complain("measure.metrics", f"got {metric!r}; of task {config.task}: all, or {', '.join(allowed)}")
    if config.task == "vocoder":
        foreign = {
            "model.cell": config.model.cell is not None,
            "quant.kind": config.quant != Quant(),
            "data.noise": config.data.noise != "embedded",
        }
    else:
        foreign = {
            **{f"model.{key}": getattr(config.model, key) is not None for key in ("head", "mixtures", "causal")},
            "pack.delta": config.pack.delta != 0,
            "pack.tables": config.pack.tables is not None,
            "reg.kind": config.reg.kind == "skip_update",
        }
        _check_quant(config, complain)
        _check_noise(config.data.corpus, config.data.noise, complain)
    for key, given in foreign.items():
        if given:
            complain(key, f"given, but task {config.task!r} has no such thing; leave it out")


def _check_quant(config: TrialConfig, complain: Findings) -> None:
    if config.quant.kind == "int8" and config.pack.format != "int8":
        complain("pack.format", f"got {config.pack.format!r}, but the arm learns int8 (quant.kind); set it to int8")
    if config.quant.kind == "none" and config.pack.format == "int8":
        complain("pack.format", "got 'int8', but the arm learns float32 (quant.kind); set quant.kind to int8 as well")
    if config.pack.format == "bf16":
        complain("pack.format", "got 'bf16', which an enhancer is not packed in; use f32 or int8")
    if config.quant.kind == "none" and config.quant != Quant():
        complain("quant.kind", "is 'none', so the other keys of quant mean nothing; set it to int8 or leave them out")


def _check_corpus(config: TrialConfig, complain: Findings) -> None:
    spec, known = config.data.corpus, CORPORA[config.task]
    kind, _, path = spec.partition(":")
    if spec == "embedded":
        return
    if kind not in known or not path:
        allowed = f"embedded, {', '.join(f'{name}:PATH' for name in known)}"
        complain("data.corpus", f"got {spec!r}, expected one of {allowed}{did_you_mean(spec, ['embedded', *known])}")
    elif not Path(path).expanduser().is_dir():
        complain("data.corpus", f"{path}: no such folder")


def _check_noise(corpus: str, spec: str, complain: Findings) -> None:
    if corpus.startswith(NOISY) and spec != "embedded":
        complain("data.noise", f"given, but {corpus!r} brings its own noise; leave it out")
    kind, _, path = spec.partition(":")
    if spec == "embedded":
        return
    if kind != "folder" or not path:
        complain("data.noise", f"got {spec!r}, expected embedded or folder:PATH")
    elif not Path(path).expanduser().is_dir():
        complain("data.noise", f"{path}: no such folder")
