"""Where a chart's y axis has its lines."""

import math
from typing import Final

_MOST_LINES: Final = 5


def lines(highest: float, *, whole: bool) -> list[float]:
    """Where the lines of the y axis are, from zero to the first that no bar passes: round numbers, five at most."""
    if highest <= 0:
        return [0, 1]
    smallest = 10.0 ** math.floor(math.log10(highest / (_MOST_LINES - 1)))
    steps = (unit * smallest for unit in (1, 2, 5, 10))
    step = next(one for one in steps if one * (_MOST_LINES - 1) >= highest)
    if whole:
        step = max(1, math.ceil(step))
    return [round(step * place, 12) for place in range(math.ceil(highest / step) + 1)]
