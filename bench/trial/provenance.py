"""What a trial's results rest on that its configuration only names: recordings, checkpoint, metrics' packages."""

from bench.config.checkpoints import checkpoint_hash
from bench.config.schema import TrialConfig
from bench.measure.sound.registry import packages
from bench.trial import corpus


def provenance(config: TrialConfig) -> dict[str, str]:
    """Return the tags that a record keeps of it: two trials are the same when configuration and these are equal.

    `lanewise.data_hash` names the recordings and the definition of the features, `lanewise.init_hash` the checkpoint
    (or says how else the model begins), `lanewise.metric.NAME` the packages that compute a metric.

    Raises
    ------
    LanewiseError
        A recording or the checkpoint cannot be read.
    """
    init = config.model.init
    return {
        "lanewise.data_hash": corpus.content(config),
        "lanewise.init_hash": init if init in ("dense", "scratch") else checkpoint_hash(init, config.task),
        **{f"lanewise.metric.{name}": versions for name, versions in packages(config.measure.metrics).items()},
    }
