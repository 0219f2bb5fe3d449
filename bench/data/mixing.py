"""Noisy speech: scale a noise to a signal-to-noise ratio and add it; babble and coloured noise.

The ratio is that of energies over the whole stretch, pauses included: 10 log10(sum s^2 / sum n^2). For noise that is
uncorrelated with the speech, the noisy mixture's SI-SDR is then the ratio asked for.
"""

from collections.abc import Sequence

import numpy as np

from bench.data.audio import FloatArray
from bench.data.features import SAMPLE_RATE_HZ
from bench.errors import LanewiseError

SNR_DB = (-5.0, 0.0, 5.0, 10.0, 15.0, 20.0)
"""The ratios of the test conditions."""
TALKERS = (3, 6)
"""Fewest and most voices of a babble."""

_SILENT_RMS = 1 / 32768
_TRIES = 20


def rms(audio: FloatArray) -> float:
    """Root mean square of samples."""
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))) if len(audio) else 0.0


def at_level(audio: FloatArray, level_db: float) -> FloatArray:
    """Scale audio to a root mean square in dB of full scale.

    Raises
    ------
    LanewiseError
        The audio is silent.
    """
    now = rms(audio)
    if now < _SILENT_RMS:
        raise LanewiseError("the audio is silent (below one step of 16 bits): it has no level; leave this clip out")
    return np.asarray(audio * np.float32(10 ** (level_db / 20) / now))


def mix(speech: FloatArray, noise: FloatArray, snr_db: float) -> FloatArray:
    """Add noise to speech at a signal-to-noise ratio; the speech is not scaled.

    Parameters
    ----------
    speech, noise
        Mono samples (n,) at one sample rate.
    snr_db
        Energy of the speech over that of the noise.

    Returns
    -------
    float32 array (n,)

    Raises
    ------
    LanewiseError
        Lengths differ, one of the two is silent, or the sum would clip (go beyond full scale).
    """
    if speech.shape != noise.shape or speech.ndim != 1:
        raise LanewiseError(f"speech has shape {speech.shape}, noise {noise.shape}; expected mono of one length")
    for audio, name in ((speech, "speech"), (noise, "noise")):
        if rms(audio) < _SILENT_RMS:
            raise LanewiseError(f"the {name} is silent: no signal-to-noise ratio exists; leave it out")
    scaled = at_level(noise, 20 * np.log10(rms(speech)) - snr_db)
    noisy: FloatArray = (speech + scaled).astype(np.float32)
    peak = float(np.abs(noisy).max())
    if peak > 1.0:
        raise LanewiseError(
            f"the mixture would clip at {snr_db:g} dB (peak {peak:.2f} of full scale); "
            f"lower the speech by at least {20 * np.log10(peak):.1f} dB"
        )
    return noisy


def stretch(noise: FloatArray, samples: int, start: int) -> FloatArray:
    """`samples` of a recording from `start`, which goes on at its beginning where it ends."""
    if samples <= len(noise) - start:
        return noise[start : start + samples]
    return np.take(noise, np.arange(start, start + samples), mode="wrap")


def lively_stretch(noise: FloatArray, samples: int, rng: np.random.Generator, level: float | None = None) -> FloatArray:
    """Return a random stretch that is not much quieter than its recording (bird song has pauses of a second and more).

    Parameters
    ----------
    noise
        Recording.
    samples
        Length asked for.
    level
        Root mean square of the recording where it is known, which saves reading all of it.

    Raises
    ------
    LanewiseError
        Every stretch tried is more than 20 dB below the recording's level.
    """
    floor = max(0.1 * (rms(noise) if level is None else level), _SILENT_RMS)
    for _ in range(_TRIES):
        found = stretch(noise, samples, int(rng.integers(max(len(noise) - samples, 0) + 1)))
        if rms(found) >= floor:
            return found
    raise LanewiseError(f"{_TRIES} stretches of {samples / SAMPLE_RATE_HZ:.1f} s of this noise are all near silent")


def babble(voices: Sequence[Sequence[FloatArray]], samples: int, rng: np.random.Generator) -> FloatArray:
    """Sum of 3 to 6 talkers of equal level, each saying prompts one after another from some point on.

    Parameters
    ----------
    voices
        Prompts of each speaker other than the target; a speaker may talk more than once at a time.
    samples
        Length asked for.
    """
    total = np.zeros(samples, np.float32)
    for _ in range(int(rng.integers(TALKERS[0], TALKERS[1] + 1))):
        prompts = voices[int(rng.integers(len(voices)))]
        said: list[FloatArray] = []
        length = 0
        while length < 2 * samples:
            said.append(at_level(prompts[int(rng.integers(len(prompts)))], -26.0))
            length += len(said[-1])
        start = int(rng.integers(length - samples + 1))
        total += np.concatenate(said)[start : start + samples]
    return total


def coloured(samples: int, rng: np.random.Generator) -> FloatArray:
    """Gaussian noise under a random smooth spectrum and a slow random envelope.

    The spectrum is a tilt of +3 to -12 dB an octave plus up to three broad humps; the envelope moves within a few dB.
    """
    bins = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE_HZ)
    octaves = np.log2(np.maximum(bins, 50.0) / 1000.0)
    gain_db = octaves * rng.uniform(-12.0, 3.0)
    for _ in range(int(rng.integers(4))):
        centre, width = rng.uniform(-3.5, 2.8), rng.uniform(0.15, 1.5)
        gain_db = gain_db + rng.uniform(5.0, 25.0) * np.exp(-0.5 * np.square((octaves - centre) / width))
    spectrum = np.fft.rfft(rng.standard_normal(samples)) * 10 ** ((gain_db - gain_db.max()) / 20) * (bins > 50.0)
    noise = np.fft.irfft(spectrum, samples)
    points = max(int(samples / SAMPLE_RATE_HZ * rng.uniform(0.5, 6.0)), 2)
    envelope_db = np.interp(
        np.linspace(0, points - 1, samples), np.arange(points), rng.uniform(0, 6) * rng.standard_normal(points)
    )
    shaped = noise * 10 ** (np.clip(envelope_db, -12, 12) / 20)
    return np.asarray(shaped / np.sqrt(np.mean(np.square(shaped))) * 0.05, dtype=np.float32)
