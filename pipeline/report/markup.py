"""Pieces of HTML. Every text that comes in is escaped here, and nowhere else is a tag put around one."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go


class Safe(str):
    """Text that is HTML already."""


def text(value: object) -> Safe:
    """A value as it may stand between tags or in a quoted attribute."""
    return value if isinstance(value, Safe) else Safe(html.escape(str(value), quote=True))


def element(tag: str, *inside: object, **attributes: object) -> Safe:
    """`<tag ...>inside</tag>`; a trailing underscore of an attribute's name is dropped, other ones become hyphens."""
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{text(value)}"' for name, value in attributes.items() if value != ""
    )
    return Safe(f"<{tag}{given}>{''.join(text(part) for part in inside)}</{tag}>")


def picture(address: str, title: str) -> Safe:
    """An image with its alternative text."""
    return Safe(f'<img src="{text(address)}" alt="{text(title)}" title="{text(title)}">')


def number(value: object, digits: int = 4, *, signed: bool = False) -> str:
    """A number for people; an en dash where it is undefined, integers as they are."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or not math.isfinite(float(value)):  # type: ignore[arg-type]
        return "–"
    return f"{float(value):+.{digits}f}" if signed else f"{float(value):.{digits}f}"  # type: ignore[arg-type]


def span(low: object, high: object) -> str:
    """An interval for people; empty where it is undefined."""
    known = [end for end in (low, high) if end is not None and math.isfinite(float(end))]  # type: ignore[arg-type]
    return f"{number(low)} to {number(high)}" if len(known) == 2 else ""


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    id_: str = "",
    sortable: bool = False,
    unsorted: Sequence[str] = (),
) -> Safe:
    """A table; numbers stand right, and of a sortable one each cell keeps its exact value for the page's script.

    unsorted: columns of pictures, which have no order.
    """
    numeric = [
        any(isinstance(row[k], int | float) for row in rows)
        and all(isinstance(row[k], int | float | None) for row in rows)
        for k in range(len(columns))
    ]
    kinds = ["number" if each else "" for each in numeric]
    heads = [
        element(
            "th",
            element("button", name, type="button") if sortable and name not in unsorted else name,
            class_=kind,
            scope="col",
        )
        for name, kind in zip(columns, kinds, strict=True)
    ]
    body = [
        element("tr", *(_cell(value, kind, sortable) for value, kind in zip(row, kinds, strict=True))) for row in rows
    ]
    inner = element("thead", element("tr", *heads)), element("tbody", *body)
    made = element("table", *inner, id_=id_, class_="sortable" if sortable else "")
    return element("div", made, class_="wide")


def _cell(value: object, kind: str, sortable: bool) -> Safe:
    shown = value if isinstance(value, str) else number(value)
    return element("td", shown, class_=kind, data_value=_exact(value) if sortable and kind else "")


def _exact(value: object) -> str:
    return "" if value is None or not math.isfinite(float(value)) else repr(float(value))  # type: ignore[arg-type]


def figure(made: go.Figure, name: str) -> Safe:
    """A figure as a `div` with the id `name`, which the page's script draws when it comes into view."""
    place = element("div", id_=name, style=f"height:{made.layout.height}px")
    return element("div", place, data_script(f"{name}-data", json.loads(made.to_json())), class_="figure")


def data_script(name: str, value: Mapping[str, Any]) -> Safe:
    """A mapping as JSON that the page's script reads by its id; no text in it can end the element."""
    plain = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        plain = plain.replace(sign, f"\\u{ord(sign):04x}")
    return Safe(f'<script type="application/json" id="{text(name)}">{plain}</script>')
