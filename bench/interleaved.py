"""Times contestants in turn, round after round, and prints their medians and ratios.

Absolute figures of a shared machine drift by two within minutes; a ratio of two things timed one after the other does not. So
every ratio here is the median over rounds of (reference of this round / product of this round). Times are of the processor: what
else runs beside a contestant is not charged to it.
"""

from __future__ import annotations

import gc
import platform
from collections.abc import Callable, Mapping
from statistics import median
from time import process_time

Times = dict[str, list[float]]


def in_turn(contestants: Mapping[str, Callable[[], object]], rounds: int, *, warm: int = 1) -> Times:
    """CPU seconds of each contestant in each round. The order turns with the rounds: nobody always follows the same one."""
    for _ in range(warm):
        for run in contestants.values():
            run()
    times: Times = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            gc.collect()
            start = process_time()
            contestants[name]()
            times[name].append(process_time() - start)
    return times


def ratio(times: Times, reference: str, product: str) -> float:
    """How many times faster the product is than the reference."""
    return median(slow / fast for slow, fast in zip(times[reference], times[product], strict=True))


def title(text: str, *caveats: str) -> None:
    print(f"\n== {text}")
    print(
        f"   {platform.python_implementation()} {platform.python_version()}, {platform.machine()}; "
        "medians of rounds run in turn, CPU time"
    )
    for caveat in caveats:
        print(f"   - {caveat}")


def show(times: Times, product: str, *, unit: str = "ms") -> None:
    scale = {"s": 1.0, "ms": 1e3, "us": 1e6}[unit]
    width = max(len(name) for name in times)
    for name, values in times.items():
        spread = f"{min(values) * scale:.3g} to {max(values) * scale:.3g}"
        against = "" if name == product else f"   product is {ratio(times, name, product):.2f}x as fast"
        print(f"   {name:<{width}}  {median(values) * scale:10.3f} {unit}  ({spread}){against}")


def verdict(what: str, value: float, target: float, *, at_most: bool = False) -> None:
    """One line that says plainly whether a target was met."""
    met = value <= target if at_most else value >= target
    print(f"   {'MET   ' if met else 'MISSED'} {what}: {value:.3g} (target {'<=' if at_most else '>='} {target:g})")
