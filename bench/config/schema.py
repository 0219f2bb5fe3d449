"""What one trial is, as typed and frozen settings: every key, its default, its allowed values and its meaning.

The text under each field is its documentation: `lanewise trial --keys` and the reference pages print it.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator
from pydantic_core import PydanticCustomError

TaskName = Literal["vocoder", "enhancer"]
MetricName = Literal[
    "pesq_wb", "stoi", "estoi", "mcd_db", "logf0_rmse", "voicing_error", "mrstft", "visqol", "dnsmos", "si_sdr", "sdr",
    "all",
]  # fmt: skip


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _comma_tuple(value: Any) -> Any:
    if isinstance(value, str):
        value = [word.strip() for word in value.split(",") if word.strip()]
    return _tuple(value)


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise PydanticCustomError("some", "expected at least one matrix")
    return value


def _lambda(value: Any) -> float | str:
    if value == "controlled":
        return "controlled"
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf"):
        return float(value)
    raise PydanticCustomError("lambda", "expected a number >= 0, or 'controlled'")


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values are never changed, types are never guessed."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
        populate_by_name=True,
        allow_inf_nan=False,
    )


class Data(Section):
    """The recordings."""

    corpus: str = "embedded"
    """`embedded`, or recordings of 16 kHz mono: `folder:PATH`, `ljspeech:PATH`, `jsut:PATH`; for the enhancer also
    speech that is noisy already: `voicebank:PATH`, `dns:PATH`."""
    noise: str = "embedded"
    """What the enhancer's clean speech is mixed with: `embedded`, or recordings of noise, `folder:PATH`."""
    cache: str | None = None
    """Folder of cached features, dense models and arms; by default `cache` in the study's folder. One elsewhere, which
    studies can share, has to be allowed by whoever runs the file: `--allow-cache DIR`."""


class Model(Section):
    """The network, before anything is pruned."""

    init: str = "shipped"
    """Where its weights come from: `shipped` or `shipped-small` (checkpoints of the task that come with Lanewise),
    `dense` (train one on this corpus for `train.dense_steps`, shared by all arms of equal `seed.dense`), `scratch`
    (random weights: the arm is trained from the first step under its regularizer), or the path of a checkpoint. An
    enhancer starts from a checkpoint (`lanewise train-enhancer` makes one)."""
    hidden: int | None = Field(default=None, ge=1, le=4096)
    """Units of a recurrent layer; by default what the checkpoint has, or 256."""
    cell: Literal["gru", "lstm"] | None = None
    """Recurrent layers of an enhancer; what its checkpoint has."""
    head: int | None = Field(default=None, ge=1, le=4096)
    """Units of the layer between GRU and output distribution; by default what the checkpoint has, or 128."""
    mixtures: int | None = Field(default=None, ge=1, le=64)
    """Logistics in each band's output distribution; by default what the checkpoint has, or 4."""
    causal: bool | None = None
    """Whether conditioning looks only back (no look-ahead); by default what the checkpoint has, or false."""


class Shares(Section):
    """How `train.steps` is divided; the three must add up to 1. Phases that an arm does not have go to recovery."""

    reg: float = Field(default=0.4, ge=0, le=1)
    """Share of steps under the regularizer, before pruning begins."""
    prune: float = Field(default=0.2, ge=0, le=1)
    """Share over which a gradual schedule prunes (the regularizer stays on)."""
    recover: float = Field(default=0.4, ge=0, le=1)
    """Share of steps with the masks fixed and lambda 0."""


class Train(Section):
    """The step budget, equal for every arm of a comparison (dense-continued included)."""

    steps: int = Field(default=400, ge=1)
    """Optimizer steps after the dense model: regularise + prune + recover together."""
    shares: Shares = Shares()
    """Division of `train.steps`."""
    batch: int = Field(default=32, ge=1)
    """Segments in one optimizer step."""
    segment: int = Field(default=400, ge=40, multiple_of=40)
    """GRU steps of a vocoder in one segment, whole frames of 40 (10 ms)."""
    seconds: float = Field(default=3.0, ge=0.5, le=60)
    """Length of an enhancer's segment."""
    loss: Literal["snr", "si-sdr", "spectral"] = "snr"
    """What an enhancer's training lowers (`bench.learn.enhancer_loss`)."""
    lr: float = Field(default=3e-4, gt=0, le=1)
    """Peak learning rate of the arm's steps (Adam)."""
    dense_steps: int = Field(default=10_000, ge=1)
    """Optimizer steps of a dense model (only with `model.init: dense`)."""
    dense_lr: float = Field(default=1e-3, gt=0, le=1)
    """Peak learning rate of a dense model (only with `model.init: dense`)."""
    validate_every: int = Field(default=50, ge=1)
    """Steps between points of the validation curve."""
    checkpoint_every: int = Field(default=50, ge=1)
    """Steps between checkpoints, hence the most that an interruption can cost."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where models are trained. Everything measured afterwards runs on the CPU. Rounding differs between the two, so
    their results are never mixed: an arm or a dense model trained on one is not taken for one trained on the other."""


Options = dict[str, float | int | str | bool]


def _method(role: Literal["regularizer", "pruner"]) -> AfterValidator:
    """Check a method's name against the table of methods, which plug-ins may have added to."""

    def check(name: str) -> str:
        from bench.sparsity.catalogue import names

        if name not in names(role):
            raise PydanticCustomError("method", "expected one of {expected}", {"expected": ", ".join(names(role))})
        return name

    return AfterValidator(check)


class Reg(Section):
    """The regularizer, which pulls weights to zero before and while they are pruned."""

    kind: Annotated[str, _method("regularizer")] = "none"
    """`lasso` (its tile is 1x1), `group_lasso` (lambda * sum over tiles of sqrt(tile size) * l2 norm of the tile), or
    another that `lanewise methods` lists."""
    options: Options = Field(default_factory=dict)
    """The regularizer's own hyper-parameters, as `lanewise methods` lists them."""
    tile: str | None = None
    """Group of weights: `16x1` (16 rows of one column: a SIMD group), `1x16`, `column`, `gate-column`, `simd` (= Gx1
    with G = `simd.width`) or `simd-row` (= 1xG). By default 1x1 for lasso and `prune.tile` for group_lasso."""
    form: Literal["proximal", "subgradient"] = "proximal"
    """Group soft-threshold after each update, or a (decoupled) subgradient step."""
    lambda_: Annotated[float | str, PlainValidator(_lambda)] = Field(default="controlled", alias="lambda")
    """A number, or `controlled` (raised until `reg.target` of the tiles are zero when pruning begins: the fair default
    when tiles are compared). `tune` tries several."""
    target: float | None = Field(default=None, gt=0, lt=1)
    """Share of zero tiles that `lambda: controlled` steers to before pruning; by default half of `prune.sparsity`."""


class Prune(Section):
    """What is pruned, and how."""

    kind: Annotated[str, _method("pruner")] = "none"
    """`magnitude` prunes the tiles of least score; `random` is the control that draws tiles by `seed.recover`;
    `lanewise methods` lists the others."""
    options: Options = Field(default_factory=dict)
    """The method's own hyper-parameters, as `lanewise methods` lists them."""
    tile: str | None = None
    """Tile that is kept or pruned as one, hence the kernel that runs it; by default `reg.tile`, or 1x1. `unit` prunes
    hidden units (rows of every gate, recurrent column, the next layer's column): a smaller dense model."""
    matrices: Annotated[tuple[str, ...], BeforeValidator(_comma_tuple), AfterValidator(_some)] = ()
    """Matrices that share the budget; `prune.sparsity` counts these and no others. A list or a comma string. By default
    gru.recurrent of a vocoder (there are also gru.cond, gru.embed, head.fc, head.out), all of an enhancer (rnn1.input,
    rnn1.recurrent, ..., fc.hidden, fc.mask)."""
    sparsity: float | None = Field(default=None, ge=0, le=1)
    """Pruned share of `prune.matrices` (0.7 leaves 30 %)."""
    gate_sparsity: Annotated[tuple[float, ...] | None, BeforeValidator(_tuple)] = None
    """Sparsity of each gate (reset, update, candidate), whose mean is `prune.sparsity`; needs `scope: gate`."""
    permute: bool = False
    """Reorder the hidden units before tiles are formed, so that rows that need the same inputs share tiles (1xN with
    rearrangement, arXiv 2105.14713). The network computes the same; it costs nothing at run time."""
    schedule: Literal["cubic", "one-shot", "offline", "progress5", "staged", "linear"] = "cubic"
    """Gradual over the share `prune` (`cubic` is fast first, `progress5` slow first, `staged` in four jumps, `linear`),
    `one-shot` (all at once at its start), or `offline`: all at once after the last step, and nothing is trained
    afterwards."""
    scope: str = Field(default="matrix", pattern=r"^(global|matrix|gate|[1-9][0-9]?:[1-9][0-9]?)$")
    """The budget within which tiles compete: all matrices together (`global`), each `matrix`, each `gate`; or `N:M`
    (2:4, 4:8): of every M tiles in a row along the inputs, N are kept, so that `prune.sparsity` is 1 - N/M."""
    score: Literal["l2", "l1", "max", "l2-mean"] = "l2"
    """Norm of a tile by which tiles are ranked; `l2-mean` divides by the tile's size (it differs at edges only)."""
    keep_diagonal: bool = False
    """Keep the tiles on the diagonal of each gate of gru.recurrent; they count within the budget."""


class Quant(Section):
    """Integer arithmetic, which an enhancer learns together with its sparsity."""

    kind: Literal["none", "int8"] = "none"
    """`int8`: weights and activations are integers of 8 bits from the arm's first step on, gradients pass the rounding
    (quantisation-aware training), and the packed model is int8."""
    weights: Literal["channel", "tensor"] = "channel"
    """One scale for each output row, or one for each matrix. The engine runs `channel`."""
    activations: Literal["dynamic", "static"] = "dynamic"
    """Each vector scaled by its own greatest magnitude, or by a range fixed at calibration. The engine runs the
    first."""


class Recover(Section):
    """How the kept weights are trained again, once masks are final."""

    kind: Literal["finetune", "rewind", "scratch"] = "finetune"
    """`finetune` goes on with the weights as they are; `rewind` puts them back to the dense model's (arXiv 2003.02389);
    `scratch` draws them anew: the control that tells whether the mask matters or only its size."""
    distil: float = Field(default=0.0, ge=0, le=1)
    """Weight of the distance to the dense model's distributions in the training loss of all phases; the rest is NLL."""


class Tune(Section):
    """One hyper-parameter tried at several values: each trains the arm in full, the best validation NLL is kept."""

    size: int = Field(default=0, ge=0, le=9)
    """How many values (0: none tried): a grid between the bounds that `lanewise methods` lists for the method."""
    key: str | None = None
    """Which: a dotted key such as `train.lr`, `reg.lambda` or `prune.options.alpha`; by default the method's own."""
    grid: Annotated[tuple[float, ...] | None, BeforeValidator(_tuple)] = None
    """Values to try, in place of `size`."""


class Pack(Section):
    """The packed model: what changes its size and speed without training anything again."""

    format: Literal["f32", "bf16", "int8"] = "f32"
    """Number format of the weights; `int8` has one scale per row and quantises activations at each step (the small
    output layer stays f32, which int8 would cost 0.03 bit)."""
    tables: Literal["f32", "bf16", "int8"] | None = None
    """Number format of the embedding tables in memory; by default f32 with `pack.format: f32`, else bf16."""
    delta: float = Field(default=0.0, ge=0, le=1)
    """Delta threshold on the GRU's state: a recurrent column whose state moved by no more than this since it was last
    used is skipped (arXiv 1612.05571); needs a recurrent matrix that is dense or pruned by `column`. 0: none."""


class Simd(Section):
    """The instruction set."""

    width: int | None = Field(default=None, ge=1, le=64)
    """Group length G; by default that of `prune.tile`. Set it to name tiles `simd` and `simd-row`."""
    isa: str = "auto"
    """`auto` (the widest of this host, or `LANEWISE_ISA`), `scalar`, `sse4.2`, `avx2`, `avx512`
    or `avx512vnni` (with BF16 and VBMI)."""


class Seed(Section):
    """The two seeds."""

    dense: int = Field(default=0, ge=0, lt=2**31)
    """Seed of dense training; arms with the same one share the dense model."""
    recover: int = Field(default=0, ge=0, lt=2**31)
    """Seed of everything after: segments drawn, random masks, sampling noise, bootstrap."""


class Measure(Section):
    """What is measured on the finished arm."""

    test_clips: int | None = Field(default=None, ge=1)
    """How many test clips are synthesised and scored (the first by id); by default all. Of an enhancer: how many noisy
    clips, drawn evenly over noises, ratios and speakers."""
    valid_clips: int | None = Field(default=None, ge=1)
    """How many validation clips the validation loss uses (drawn as the test clips are); by default all."""
    metrics: Annotated[tuple[MetricName, ...], BeforeValidator(_comma_tuple)] = ("all",)
    """Sound metrics to compute (a vocoder's NLL always is); `all` that suit the task, a list or a comma string."""
    audio_clips: int = Field(default=3, ge=0)
    """How many synthesised clips are kept as audio and drawn as spectrograms."""
    temperature: float = Field(default=0.9, gt=0, le=2)
    """Sampling temperature of the synthesis, equal for every arm unless it is what a study varies. 0.9 was chosen on
    validation clips of the shipped dense model: ESTOI 0.893 and DNSMOS 3.02 against 0.883 and 2.90 at 1."""
    speed: bool = True
    """Whether real-time factor and kernel time are measured (alone on the host)."""
    patience_s: float = Field(default=60, gt=0, le=3600)
    """Seconds that a timing waits for samples at the nominal clock before it stands as `unstable`."""


class TrialConfig(Section):
    """One arm with one pair of seeds."""

    task: TaskName = "vocoder"
    """What the model does: speech from mel frames, or clean speech from noisy speech."""
    arm: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,79}$")
    """Name of the arm in tables; by default made from what it is, such as `simd-16x1-s70`."""
    plugins: Annotated[tuple[str, ...], BeforeValidator(_tuple)] = ()
    """Python files that add methods and tiles of your own (`docs/add-a-method.md`), in the folder of the file that
    names them or below. They are run as they are: name none that you have not read."""
    data: Data = Data()
    model: Model = Model()
    train: Train = Train()
    reg: Reg = Reg()
    prune: Prune = Prune()
    quant: Quant = Quant()
    recover: Recover = Recover()
    tune: Tune = Tune()
    pack: Pack = Pack()
    simd: Simd = Simd()
    seed: Seed = Seed()
    measure: Measure = Measure()
