"""What Plotly draws, as its own objects: plain dicts and lists that become JSON (https://plotly.com/javascript/).

Names reach Plotly only through `plain`, because it reads a few HTML tags in texts. Numbers are rounded to what can be
seen, so that a page of a thousand trials stays small.
"""

import html
from dataclasses import dataclass
from typing import Any

from asc.report.colours import BLUE, GREY, PURPLE, SKY, VERMILION, YELLOW

MOST_TRIALS = 2000  # in tables and in figures of parameters, so that the page of a long search stays below 5 MB
OUTCOME_COLOURS = {
    **{"completed": BLUE, "stopped": YELLOW, "diverged": VERMILION, "failed": PURPLE},
    **{"paused": GREY, "unfinished": SKY},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What Plotly draws at the place named `key`; `height_px` and, for a figure that may scroll, `least_width_px`."""

    key: str
    title: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    height_px: int = 360
    least_width_px: int = 0

    def tree(self) -> dict[str, Any]:
        """The part that the page's script needs."""
        return {"data": self.data, "layout": {**self.layout, "height": self.height_px}}


def plain(name: object) -> str:
    """A text that Plotly shows as it is, whatever tags it holds."""
    return html.escape(str(name), quote=False)


def rounded(value: float | None) -> float | None:
    """Four significant digits."""
    return None if value is None else float(f"{value:.4g}")
