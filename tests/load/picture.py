"""Curves as an SVG: small pictures side by side, the number of objects to the right, each from zero upwards.

What must stay true
- The same figures give the same bytes, so that a picture that did not change shows no difference.
"""

import math

WIDE, HIGH, COLUMNS = 280, 190, 3
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 30, 26
COLOURS = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e"]


def nice(most):
    """A round number at or above, and how many steps it divides into."""
    if most <= 0:
        return 1, 2
    power = 10 ** math.floor(math.log10(most))
    for factor, steps in ((1, 4), (1.5, 3), (2, 4), (3, 3), (4, 4), (5, 5), (6, 3), (8, 4), (10, 5)):
        if most <= factor * power:
            return factor * power, steps
    return 10 * power, 5


def short(value):
    for size, mark in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g}{mark}"
    return f"{value:.3g}"


class Panel:
    """One picture: its title, and lines of (number of objects, figure) by name."""

    def __init__(self, title, lines):
        self.title = title
        self.lines = [(name, sorted(points)) for name, points in lines if points]

    def svg(self, x, y, least, most, colours):
        span = max(1e-9, math.log10(most) - math.log10(least))
        top, steps = nice(max((v for _, points in self.lines for _, v in points), default=0))
        across = lambda n: x + LEFT + (math.log10(n) - math.log10(least)) / span * (WIDE - LEFT - RIGHT)
        up = lambda v: y + HIGH - BOTTOM - v / top * (HIGH - TOP - BOTTOM)
        out = [f'<text x="{x + 8}" y="{y + 16}" font-weight="bold">{self.title}</text>']
        for i in range(steps + 1):
            v = top * i / steps
            out.append(f'<path d="M{x + LEFT} {up(v):.1f}H{x + WIDE - RIGHT}" stroke="#ddd"/>')
            out.append(f'<text x="{x + LEFT - 5}" y="{up(v) + 4:.1f}" text-anchor="end">{short(v)}</text>')
        for power in range(math.ceil(math.log10(least)), math.floor(math.log10(most)) + 1):
            out.append(f'<text x="{across(10 ** power):.1f}" y="{y + HIGH - 10}" text-anchor="middle">{short(10 ** power)}</text>')
        for name, points in self.lines:
            places = [f"{across(n):.1f} {up(v):.1f}" for n, v in points]
            out.append(f'<path d="M{"L".join(places)}" fill="none" stroke="{colours[name]}" stroke-width="1.5"/>')
            if len(points) < 8:
                out += [f'<circle cx="{p.split()[0]}" cy="{p.split()[1]}" r="2.5" fill="{colours[name]}"/>' for p in places]
        return out


def picture(panels):
    """All panels in one SVG, with a legend."""
    panels = [panel for panel in panels if panel.lines]
    names = list(dict.fromkeys(name for panel in panels for name, _ in panel.lines))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    numbers = [n for panel in panels for _, points in panel.lines for n, _ in points] or [1, 10]
    rows = -(-len(panels) // COLUMNS)
    wide, high = COLUMNS * WIDE, rows * HIGH + 26
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{wide}" height="{high}" fill="white"/>',
    ]
    for i, name in enumerate(names):
        at = 12 + i * 120
        out.append(f'<path d="M{at} 14h18" stroke="{colours[name]}" stroke-width="3"/><text x="{at + 24}" y="18">{name}</text>')
    for i, panel in enumerate(panels):
        out += panel.svg((i % COLUMNS) * WIDE, 26 + (i // COLUMNS) * HIGH, min(numbers), max(max(numbers), 2 * min(numbers)), colours)
    return "\n".join([*out, "</svg>", ""])
