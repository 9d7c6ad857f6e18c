"""What the agent sees: the engine's 7x7 view with its occlusion rule, without the engine's image.

The engine slices, rotates and encodes a sub-grid for every observation, which takes fifteen times as long as its
step. Here the view is read straight off the world grid, row by row away from the agent, with one bit per column.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

VIEW = 7
"""Cells on a side of the view; the agent stands in the middle of its nearest row and looks along the columns."""
MIDDLE = VIEW // 2

_DIRECTIONS = ((1, 0), (0, 1), (-1, 0), (0, -1))


class Seen(NamedTuple):
    """A visible object.

    Attributes:
        ahead: Steps ahead, 0 to 6.
        side: Steps to the right, -3 (left) to 3.
        object: The engine's own object.
    """

    ahead: int
    side: int
    object: Any


class View(NamedTuple):
    """Everything the agent sees but the floor.

    Attributes:
        objects: Visible objects, walls left out; nearest first, then those nearer to the line of sight, then left.
        wall_ahead, wall_left, wall_right: Steps to the wall in that direction, or None where none is seen.
    """

    objects: tuple[Seen, ...]
    wall_ahead: int | None
    wall_left: int | None
    wall_right: int | None


@cache
def _spread(seen: int, clear: int) -> tuple[int, int]:
    """Return the columns seen in a row, and those seen in the row behind it.

    Args:
        seen: Columns of the row that are seen from the row before it, as bits.
        clear: Columns of the row that can be seen through, as bits.
    """
    beyond = 0
    for order, step in ((range(VIEW - 1), 1), (range(VIEW - 1, 0, -1), -1)):
        for column in order:
            if seen >> column & 1 and clear >> column & 1:
                seen |= 1 << column + step
                beyond |= 1 << column | 1 << column + step
    return seen, beyond


def look(cells: Sequence[Any], width: int, height: int, x: int, y: int, direction: int) -> View:
    """Return what an agent at (x, y) sees.

    Args:
        cells: The world grid row by row, None for a free cell; outside of it everything is wall.
        width, height: Size of the world.
        x, y: Where the agent stands.
        direction: 0 east, 1 south, 2 west, 3 north.
    """
    ahead_x, ahead_y = _DIRECTIONS[direction]
    right_x, right_y = -ahead_y, ahead_x
    objects: list[Seen] = []
    walls: set[tuple[int, int]] = set()
    seen = 1 << MIDDLE
    for ahead in range(VIEW):
        row_x, row_y = x + ahead * ahead_x, y + ahead * ahead_y
        row: list[tuple[int, Any]] = []
        clear = 0
        for column in range(VIEW):
            side = column - MIDDLE
            cell_x, cell_y = row_x + side * right_x, row_y + side * right_y
            if not (0 <= cell_x < width and 0 <= cell_y < height):
                continue
            cell = cells[cell_y * width + cell_x]
            if cell is None:
                clear |= 1 << column
                continue
            if cell.see_behind():
                clear |= 1 << column
            row.append((column, cell))
        seen, beyond = _spread(seen, clear)
        for column, cell in row:
            if seen >> column & 1:
                if cell.type == "wall":
                    walls.add((ahead, column - MIDDLE))
                elif ahead or column != MIDDLE:
                    objects.append(Seen(ahead, column - MIDDLE, cell))
        if not beyond:
            break
        seen = beyond
    objects.sort(key=_nearness)
    return View(
        tuple(objects),
        next((steps for steps in range(1, VIEW) if (steps, 0) in walls), None),
        next((steps for steps in range(1, MIDDLE + 1) if (0, -steps) in walls), None),
        next((steps for steps in range(1, MIDDLE + 1) if (0, steps) in walls), None),
    )


def _nearness(seen: Seen) -> tuple[int, int, int]:
    return seen.ahead + abs(seen.side), abs(seen.side), seen.side
