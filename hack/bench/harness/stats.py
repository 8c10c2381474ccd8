"""Medians, quartiles, and ratios of rounds in which peers took turns."""

import statistics
from collections.abc import Sequence

Spread = dict[str, float]


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles."""
    if len(values) < 2:
        return {"median": values[0], "q1": values[0], "q3": values[0]}
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "q1": q1, "q3": q3}


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> Spread:
    """Spread of what one takes for each that the other takes, round by round: above 1, the second is better where less is better."""
    return spread([t / o for t, o in zip(theirs, ours, strict=True)])


def rounded(value: object, digits: int = 4) -> object:
    """Floats of a nested value to so many significant digits, so that files of results are read and compared with ease."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {key: rounded(entry, digits) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(entry, digits) for entry in value]
    return value
