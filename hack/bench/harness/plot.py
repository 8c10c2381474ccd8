"""Plots as SVG: horizontal bars with quartiles, one group a case, and a line where both are equal."""

import html
import pathlib
from collections.abc import Mapping, Sequence

BAR, GAP, GROUP, LEFT, WIDTH, TOP = 15, 3, 14, 230, 430, 46
COLOURS = ("#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3", "#937860", "#da8bc3")


def bars(path: pathlib.Path, title: str, axis: str, groups: Sequence[tuple[str, Mapping[str, Mapping[str, float]]]], line: float | None = 1.0) -> None:
    """Writes a plot of `groups`: a label, and spreads by name."""
    names = list(dict.fromkeys(name for _, entries in groups for name in entries))
    colour = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
    most = max(entry["q3"] for _, entries in groups for entry in entries.values())
    most = max(most, line or 0) * 1.08
    x = lambda value: LEFT + value / most * WIDTH  # noqa: E731
    parts, y = [], TOP
    for label, entries in groups:
        middle = y + len(entries) * (BAR + GAP) / 2
        parts.append(text(LEFT - 10, middle + 4, label, "end"))
        for name, entry in entries.items():
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{x(entry["median"]) - LEFT:.1f}" height="{BAR}" fill="{colour[name]}"/>')
            centre = y + BAR / 2
            parts.append(f'<path d="M{x(entry["q1"]):.1f} {centre}H{x(entry["q3"]):.1f}" stroke="#222" stroke-width="1.5"/>')
            parts.append(text(x(entry["q3"]) + 5, y + BAR - 3, f"{entry['median']:.3g}", size=11))
            y += BAR + GAP
        y += GROUP
    if line is not None:
        parts.append(f'<path d="M{x(line):.1f} {TOP - 6}V{y - GROUP + 4}" stroke="#222" stroke-dasharray="4 3"/>')
    for index, name in enumerate(names):
        column, row = index % 4, index // 4
        left = 20 + column * 175
        parts.append(f'<rect x="{left}" y="{y + 8 + row * 20}" width="12" height="12" fill="{colour[name]}"/>')
        parts.append(text(left + 17, y + 18 + row * 20, name))
    height = y + 20 + (len(names) + 3) // 4 * 20
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{height}" viewBox="0 0 720 {height}" font-family="sans-serif" font-size="12">'
    background = '<rect width="100%" height="100%" fill="#fff"/>'
    titles = [text(20, 20, title, size=14), text(20, 37, axis, size=11)]
    path.write_text("\n".join([head, background, *titles, *parts, "</svg>"]) + "\n")


def text(x: float, y: float, words: str, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="#222">{html.escape(words)}</text>'
