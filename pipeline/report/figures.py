"""Plotly figures of a run, for the page and the notebooks alike. No text of a host reaches them unescaped."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from pipeline.report.thresholds import Thresholds

INK, GREY, LINE = "#1f2933", "#7b8794", "#e4e7eb"
COLOURS = ("#2f6db5", "#d1603d", "#2e8b57", "#8e5ea2", "#c9920e", "#1d9a9a", "#c2527f", "#6b7280")
BAND = "rgba(47, 109, 181, 0.16)"


def learning_figure(curves: pd.DataFrame) -> go.Figure:
    """Loss by epoch, and beside it the score on the held-out fold where it was validated; one line per fold."""
    figure = new_figure(height=320, legend=True)
    scored = bool(curves["score"].notna().any())
    several = curves["experiment"].nunique() > 1
    for index, ((name, fold), rows) in enumerate(curves.groupby(["experiment", "fold"], sort=True)):
        title = html.escape(f"{name}, fold {fold}" if several else f"fold {fold}")
        line = {"color": COLOURS[index % len(COLOURS)], "width": 2}
        common: dict[str, Any] = {"name": title, "legendgroup": title, "line": line, "marker": {"size": 6}}
        mode = "lines+markers" if len(rows) < 30 else "lines"
        figure.add_scatter(x=plain_list(rows["epoch"] + 1), y=plain_list(rows["loss"]), mode=mode, **common)
        if scored:
            seen = rows[rows["score"].notna()]
            more: dict[str, Any] = {"showlegend": False, "xaxis": "x2", "yaxis": "y2", "mode": "lines+markers"}
            figure.add_scatter(x=plain_list(seen["epoch"] + 1), y=plain_list(seen["score"]), **common, **more)
    last = float(curves["epoch"].max()) + 1
    axis = {"title": "epoch", "range": [1 - last / 40, last * 1.025], "dtick": max(1, round(last / 10))}
    figure.update_layout(xaxis={**axis, "domain": [0, 0.45 if scored else 1]}, yaxis={"title": "loss"})
    if scored:
        second = {"title": "score on held-out images", "anchor": "x2"}
        figure.update_layout(xaxis2={**axis, "domain": [0.56, 1], "anchor": "y2"}, yaxis2=second)
    return figure


def bars_figure(table: pd.DataFrame, columns: Sequence[str], titles: Sequence[str] | None = None) -> go.Figure:
    """Small bar charts side by side, one a column; the table's index names the bars."""
    figure = new_figure(height=240)
    names = [html.escape(str(name)) for name in table.index]
    width = 1 / len(columns)
    for index, column in enumerate(columns):
        suffix = "" if index == 0 else str(index + 1)
        figure.add_bar(
            x=names, y=plain_list(table[column]), xaxis=f"x{suffix}", yaxis=f"y{suffix}",
            marker={"color": COLOURS[0]}, showlegend=False,
        )  # fmt: skip
        domain = [index * width, (index + 1) * width - (0.06 if index + 1 < len(columns) else 0)]
        axis = {"domain": domain, "anchor": f"y{suffix}", "type": "category"}
        axis["title"] = html.escape(str((titles or columns)[index]))
        figure.update_layout(
            {f"xaxis{suffix}": axis, f"yaxis{suffix}": {"anchor": f"x{suffix}", "rangemode": "tozero"}}
        )
    return figure


def threshold_figure(found: Thresholds, chosen: int | None = None, run: tuple[int, int] | None = None) -> go.Figure:
    """Score by threshold with its noise band (two standard errors of the difference to the best), the plateau `run`,
    the chosen one, and precision and recall."""
    figure = new_figure(height=360, legend=True)
    x = np.arange(256) / 255
    if found.noise is not None:
        low, high = found.score - 2 * found.noise, found.score + 2 * found.noise
        edges = {"x": plain_list([*x, *x[::-1]]), "y": plain_list([*low, *high[::-1]])}
        figure.add_scatter(**edges, fill="toself", fillcolor=BAND, line={"width": 0}, name="noise", hoverinfo="skip")
    for name, values, colour, dash in (
        ("precision", found.precision, COLOURS[4], "dot"),
        ("recall", found.recall, COLOURS[2], "dot"),
        (html.escape(found.measure), found.score, COLOURS[0], "solid"),
    ):
        figure.add_scatter(
            x=plain_list(x), y=plain_list(values), name=name, mode="lines", hovertemplate="%{y:.4f} at %{x:.3f}",
            line={"color": colour, "dash": dash, "width": 2.5 if dash == "solid" else 1.2},
        )  # fmt: skip
    if run is not None:
        figure.add_vrect(x0=run[0] / 255, x1=run[1] / 255, fillcolor="#9aa5b1", opacity=0.14, line_width=0)
    if chosen is not None:
        figure.add_vline(x=chosen / 255, line={"color": INK, "width": 1.2, "dash": "dash"})
    figure.update_layout(xaxis={"title": "threshold", "range": [0, 1]}, yaxis={"title": "", "range": [0, 1.02]})
    return figure


def parts_figure(parts: dict[Any, np.ndarray], chosen: int | None, what: str) -> go.Figure:
    """Score by threshold, one line per fold or group; a dot where each is best."""
    figure = new_figure(height=320, legend=True)
    x = np.arange(256) / 255
    for index, (name, values) in enumerate(parts.items()):
        colour, title = COLOURS[index % len(COLOURS)], html.escape(f"{what} {name}")
        figure.add_scatter(
            x=plain_list(x), y=plain_list(values), name=title, mode="lines", line={"color": colour, "width": 2}
        )
        if np.isfinite(values).any():
            best = int(np.nanargmax(values))
            figure.add_scatter(x=[best / 255], y=[float(values[best])], mode="markers", showlegend=False,
                               marker={"color": colour, "size": 9}, hoverinfo="skip")  # fmt: skip
    if chosen is not None:
        figure.add_vline(x=chosen / 255, line={"color": INK, "width": 1.2, "dash": "dash"})
    figure.update_layout(xaxis={"title": "threshold", "range": [0, 1]}, yaxis={"title": "score"})
    return figure


def intervals_figure(names: Sequence[str], table: pd.DataFrame, title: str, *, zero: bool = True) -> go.Figure:
    """One row per name: estimate with its interval (columns estimate, low, high), the first on top."""
    figure = new_figure(height=90 + 34 * len(names))
    middle, low, high = (table[name].to_numpy(float) for name in ("estimate", "low", "high"))
    error = {"array": plain_list(high - middle), "arrayminus": plain_list(middle - low), "symmetric": False}
    error |= {"type": "data", "color": GREY, "thickness": 1.6, "width": 5}
    figure.add_scatter(
        x=plain_list(middle), y=[html.escape(str(name)) for name in names], mode="markers", error_x=error,
        marker={"color": COLOURS[0], "size": 10}, hovertemplate="%{x:.4f}<extra></extra>",
    )  # fmt: skip
    if zero:
        figure.add_vline(x=0, line={"color": INK, "width": 1})
    figure.update_layout(xaxis={"title": title}, yaxis={"autorange": "reversed", "type": "category"})
    figure.update_yaxes(automargin=True)
    return figure


def matrix_figure(matrix: pd.DataFrame, title: str) -> go.Figure:
    """A square of numbers with their values written in; rows and columns are the table's."""
    values = matrix.to_numpy(float)
    form = "{:+.4f}" if np.nanmin(values) < 0 else "{:.4f}"
    text = [["" if np.isnan(value) else form.format(value) for value in row] for row in values]
    figure = _heatmap(matrix, values, text, height=150 + 60 * len(matrix), hoverinfo="skip")
    return figure.update_layout(title={"text": html.escape(title), "font": {"size": 14}}, margin={"t": 50})


def counts_figure(counts: pd.DataFrame) -> go.Figure:
    """Whole numbers by true class (row) and said class (column), written in; the colour is the share of the row."""
    values = counts.to_numpy(float)
    shares = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
    text = [[f"{value:.0f}" for value in row] for row in values]
    hover = {"zmin": 0, "zmax": 1, "hovertemplate": "is %{y}, said %{x}: %{text}<extra></extra>"}
    figure = _heatmap(counts, shares, text, height=min(130 + 42 * len(counts), 620), **hover)
    return figure.update_layout(yaxis_title="is", xaxis_title="said")


def _heatmap(table: pd.DataFrame, values: np.ndarray, text: list[list[str]], *, height: int, **more: Any) -> go.Figure:
    """Cells coloured by `values` with `text` written in, under the names of the table's columns and rows."""
    columns, rows = ([html.escape(str(name)) for name in axis] for axis in (table.columns, table.index))
    colours = [[0, "#f5f7fa"], [1, COLOURS[0]]]
    figure = new_figure(height=height).add_heatmap(
        x=columns, y=rows, z=[plain_list(row) for row in values], text=text, texttemplate="%{text}",
        colorscale=colours, showscale=False, xgap=2, ygap=2, **more,
    )  # fmt: skip
    return figure.update_layout(yaxis={"autorange": "reversed", "type": "category"}, xaxis={"type": "category"})


def calibration_figure(bins: pd.DataFrame) -> go.Figure:
    """Share of right answers by the probability that was said (columns said, right, answers); larger: more answers."""
    figure = new_figure(height=340)
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": GREY, "dash": "dot"}, hoverinfo="skip")
    sizes = 7 + 23 * np.sqrt(bins["answers"] / max(bins["answers"].max(), 1))
    figure.add_scatter(
        x=plain_list(bins["said"]), y=plain_list(bins["right"]), mode="lines+markers", line={"color": COLOURS[0]},
        marker={"size": plain_list(sizes), "color": COLOURS[0]}, text=[f"{count} answers" for count in bins["answers"]],
        hovertemplate="said %{x:.3f}, right %{y:.3f}, %{text}<extra></extra>",
    )  # fmt: skip
    figure.update_layout(
        xaxis={"title": "probability of the answer", "range": [-0.02, 1.04]},
        yaxis={"title": "share of right answers", "range": [-0.02, 1.04]},
    )
    return figure


def histogram_figure(columns: dict[str, np.ndarray], title: str) -> go.Figure:
    """Histograms over one axis, a colour a name."""
    figure = new_figure(height=300, legend=len(columns) > 1)
    for index, (name, values) in enumerate(columns.items()):
        figure.add_histogram(x=plain_list(values), name=html.escape(str(name)), nbinsx=40, opacity=0.65,
                             marker={"color": COLOURS[index % len(COLOURS)]})  # fmt: skip
    figure.update_layout(barmode="overlay", xaxis={"title": html.escape(title)}, yaxis={"title": "images"})
    return figure


def points_figure(
    x: Any, y: Any, labels: Sequence[str], titles: tuple[str, str], *, diagonal: bool = False
) -> go.Figure:
    """One point per image or submission, its label shown under the pointer; `diagonal` draws the line of equality."""
    figure = new_figure(height=340)
    x, y = np.asarray(x, float), np.asarray(y, float)
    known = np.isfinite(x) & np.isfinite(y)
    if diagonal and known.any():
        ends = [float(min(x[known].min(), y[known].min())), float(max(x[known].max(), y[known].max()))]
        figure.add_scatter(x=ends, y=ends, mode="lines", line={"color": GREY, "dash": "dot"}, hoverinfo="skip")
    figure.add_scatter(
        x=plain_list(x), y=plain_list(y), mode="markers", text=[html.escape(str(label)) for label in labels],
        marker={"color": COLOURS[0], "size": 8, "opacity": 0.75},
        hovertemplate="%{text}<br>%{x:.4f}, %{y:.4f}<extra></extra>",
    )  # fmt: skip
    figure.update_layout(xaxis={"title": html.escape(titles[0])}, yaxis={"title": html.escape(titles[1])})
    return figure


def new_figure(*, height: int, legend: bool = False) -> go.Figure:
    """An empty figure in the page's colours and type."""
    axis = {"gridcolor": LINE, "zeroline": False, "linecolor": LINE, "ticks": "", "automargin": True}
    axis["exponentformat"] = "none"  # 0.0008, not 800µ
    style = {
        "xaxis": axis, "yaxis": axis, "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', sans-serif", "size": 12.5, "color": INK},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    }  # fmt: skip
    figure = go.Figure()
    figure.update_layout(
        template={"layout": style}, height=height, margin={"l": 48, "r": 12, "t": 12, "b": 44}, showlegend=legend,
        hovermode="closest",
    )  # fmt: skip
    return figure


def plain_list(values: Any) -> list[float | None]:
    """Plain numbers, None where there is none: plotly packs arrays in a form that cannot be read in the page."""
    return [None if not np.isfinite(value) else round(float(value), 6) for value in np.asarray(values, float)]
