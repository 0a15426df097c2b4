"""Random draws that any machine, any library version and any order of reading repeats exactly."""

import numpy as np

from plumbline_jobs.stats.bins import Floats

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def draws(seed: int, first: int, count: int) -> Floats:
    """Uniform draws for the places first, first + 1, ... of one seed. Shape (count,), each in 0 <= x < 1.

    A place's draw depends on the seed and the place alone. The seed is mixed once before the places are added to it,
    so that neighbouring seeds do not give shifted copies of one sequence.
    Source: SplitMix64 of G. Steele, D. Lea, C. Flood, Fast Splittable Pseudorandom Number Generators (2014); the upper
    53 bits of its output are the mantissa.
    """
    start = _mixed(np.array([seed % (1 << 64)], dtype=np.uint64))
    places = np.arange(first + 1, first + 1 + count, dtype=np.uint64)
    return (_mixed(start + places * _STEP) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(state: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))
