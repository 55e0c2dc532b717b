"""Medians, and the confidence interval of a ratio measured in pairs."""

import random
import statistics

median = statistics.median
FEW = 6


def spread(samples):
    """First and third quartile."""
    if len(samples) < 2:
        return samples[0], samples[0]
    low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
    return low, high


def paired_ratio(ours, theirs, resamples=2000):
    """Median of ours/theirs over the rounds that have both, with its 95 % bootstrap interval.

    A pair was measured back to back, so what the machine does to both cancels out; two medians
    compared with each other would carry the drift between rounds. Fewer than FEW pairs give no
    interval.
    """
    ratios = [a / b for a, b in zip(ours, theirs) if a is not None and b]
    if not ratios:
        return None
    result = {"median": median(ratios), "low": None, "high": None, "pairs": len(ratios)}
    if len(ratios) < FEW:
        return result
    generator = random.Random(1)
    medians = sorted(
        median(generator.choices(ratios, k=len(ratios))) for _ in range(resamples)
    )
    result["low"] = medians[int(0.025 * resamples)]
    result["high"] = medians[int(0.975 * resamples)]
    return result
