"""A chart of plain characters: curves on two logarithmic axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log10
from typing import Final

__all__ = ["chart"]

WIDTH: Final = 66
HEIGHT: Final = 13
BOTH: Final = "#"
"""Where two curves meet in one place."""

_LEAST: Final = 0.01
"""What is drawn for 0, which has no logarithm."""


def chart(
    curves: Mapping[str, Callable[[float], float]],
    decades: tuple[int, int],
    marks: Sequence[tuple[str, float]] = (),
) -> str:
    """Curves, each by its one character, over x from 10^a to 10^b; marks point at values of x.

    It is 78 columns wide at most.
    """
    low, high = decades
    columns = [10 ** (low + (high - low) * at / (WIDTH - 1)) for at in range(WIDTH)]
    drawn = {
        mark: [log10(max(curve(x), _LEAST)) for x in columns] for mark, curve in curves.items()
    }
    bottom = min(min(heights) for heights in drawn.values())
    top = max(max(heights) for heights in drawn.values())
    scale = (HEIGHT - 1) / max(top - bottom, 0.1)
    rows = _rows({mark: [round((y - bottom) * scale) for y in ys] for mark, ys in drawn.items()})
    labels = _labels(bottom, scale)
    lines = [f"{labels.get(at, ''):>8} |{rows[at].rstrip()}" for at in reversed(range(HEIGHT))]
    lines += [f"{'':8} +{'-' * WIDTH}", " " * 10 + _x_labels(low, high)]
    return "\n".join([*lines, *_marked(marks, low, high)])


def _rows(curves: Mapping[str, Sequence[int]]) -> list[str]:
    cells = [[" "] * WIDTH for _ in range(HEIGHT)]
    for mark, heights in curves.items():
        for column, row in enumerate(heights):
            cells[row][column] = mark if cells[row][column] == " " else BOTH
    return ["".join(row) for row in cells]


def _labels(bottom: float, scale: float) -> dict[int, str]:
    """Round numbers beside the rows that they belong to, the roundest first."""
    found: dict[int, str] = {}
    for digit in (1, 2, 5, 3, 7, 1.5):
        for exponent in range(-2, 13):
            row = round((log10(digit) + exponent - bottom) * scale)
            if 0 <= row < HEIGHT and not {row - 1, row, row + 1} & found.keys():
                found[row] = short(digit * 10.0**exponent)
    return found


def _column(x: float, low: int, high: int) -> int:
    return round((log10(x) - low) / (high - low) * (WIDTH - 1))


def _x_labels(low: int, high: int) -> str:
    line = [" "] * (WIDTH + 4)
    for exponent in range(low, high + 1):
        label = short(10.0**exponent)
        start = min(_column(10.0**exponent, low, high), WIDTH + 2 - len(label))
        line[start : start + len(label)] = label
    return "".join(line).rstrip()


def _marked(marks: Sequence[tuple[str, float]], low: int, high: int) -> list[str]:
    """A line for each mark within the chart, its arrow below the value."""
    lines = []
    for text, x in marks:
        if not 10**low <= x <= 10**high:
            continue
        column = _column(x, low, high)
        # Beside the arrow, where there is room.
        fits = column + 2 + len(text) <= WIDTH
        line = f"{'':{column}}^ {text}" if fits else f"{text:>{max(column - 1, 0)}} ^"
        lines.append(" " * 10 + line)
    return lines


def short(number: float) -> str:
    """1000 as 1k, 2000000 as 2M."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:g}{unit}"
    return f"{number:g}"
