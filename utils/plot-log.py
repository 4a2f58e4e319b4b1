#!/usr/bin/env python3
#===- plot-log.py - Draws what a trainer logged ----------------------------===#
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===------------------------------------------------------------------------===#
"""Draws a field of one or several logs of --log as an SVG picture.

    utils/plot-log.py run.jsonl -o loss.svg
    utils/plot-log.py dense=a.jsonl "8 experts=b.jsonl" --smooth 20 --log-y -o loss.svg

Needs nothing but Python. With --smooth N each point of the line is the mean of up to N
points, half of them on either side, and the points themselves are drawn pale behind it.
Fields that are null or missing in a line are left out: --field loss,eval_loss draws both.
"""
import argparse
import json
import math
import os
import sys
from xml.sax.saxutils import escape

COLORS = ["#1f6fb4", "#d9541e", "#2a9d4a", "#8a4fb0", "#b8860b", "#c2327c", "#4a4a4a", "#17a2a2"]
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 36, 46  # margins of the picture


class Wrong(Exception):
    """What is said to the user before exit code 1."""


def read(path, x, field):
    """The points (x, field) of the lines that have both."""
    points = []
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError:
                    raise Wrong(f"'{path}' line {number} is not JSON; use what --log of a trainer wrote")
                if not isinstance(row, dict):
                    raise Wrong(f"'{path}' line {number} is not a JSON object; use what --log of a trainer wrote")
                pair = row.get(x), row.get(field)
                if all(isinstance(v, (int, float)) and math.isfinite(v) for v in pair):
                    points.append(pair)
    except OSError as error:
        raise Wrong(f"cannot read '{path}': {error.strerror}")
    return points


def smoothed(points, width):
    """Means over windows of `width` points, cut off at the ends."""
    sums = [0.0]
    for _, y in points:
        sums.append(sums[-1] + y)
    result = []
    for i, (x, _) in enumerate(points):
        begin, end = max(0, i - width // 2), min(len(points), i + (width + 1) // 2)
        result.append((x, (sums[end] - sums[begin]) / (end - begin)))
    return result


def round_ticks(low, high, about):
    """Multiples of 1, 2 or 5 times a power of ten in [low, high]."""
    step = 10 ** math.floor(math.log10((high - low) / about))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= about)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low, high):
    """Powers of ten in [low, high]; with 2 and 5 between them, then plain ones, where they are few."""
    for factors in ((1,), (1, 2, 5)):
        ticks = [f * 10.0 ** e for e in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
                 for f in factors]
        ticks = [t for t in ticks if low <= t * (1 + 1e-9) and t <= high * (1 + 1e-9)]
        if len(ticks) >= 3:
            return ticks
    return round_ticks(low, high, 5)


def text_of(value):
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{value:.6g}"


class Axis:
    """Maps values to pixels."""

    def __init__(self, values, begin, end, log, name):
        self.log = log
        low, high = min(values), max(values)
        if log and low <= 0:
            raise Wrong(f"--log-{name} draws no value of {text_of(low)}; leave it out, or draw what is positive")
        if low == high:
            low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
        self.ticks = log_ticks(low, high) if log else round_ticks(low, high, 6)
        self.low, self.high = self.map(low), self.map(high)
        self.begin, self.end = begin, end

    def map(self, value):
        return math.log10(value) if self.log else value

    def __call__(self, value):
        part = (self.map(value) - self.low) / (self.high - self.low)
        return self.begin + part * (self.end - self.begin)


def draw(series, options):
    """series: [(label, points)], none of them empty."""
    xs = [x for _, points in series for x, _ in points]
    ys = [y for _, points in series for _, y in points]
    right, bottom = options.width - RIGHT, options.height - BOTTOM
    x = Axis(xs, LEFT, right, options.log_x, "x")
    y = Axis(ys, bottom, TOP, options.log_y, "y")
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{options.width}" height="{options.height}" '
           f'viewBox="0 0 {options.width} {options.height}" font-family="sans-serif" font-size="12" fill="#333">',
           f'<rect width="{options.width}" height="{options.height}" fill="white"/>']
    if options.title:
        out.append(f'<text x="{(LEFT + right) / 2:g}" y="22" font-size="15" text-anchor="middle">'
                   f'{escape(options.title)}</text>')
    for tick in y.ticks:
        out.append(f'<path d="M{LEFT} {y(tick):.2f}H{right}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y(tick) + 4:.2f}" text-anchor="end">{text_of(tick)}</text>')
    for tick in x.ticks:
        out.append(f'<path d="M{x(tick):.2f} {bottom}v5" stroke="#333"/>')
        out.append(f'<text x="{x(tick):.2f}" y="{bottom + 19}" text-anchor="middle">{text_of(tick)}</text>')
    out.append(f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#333"/>')
    out.append(f'<text x="{(LEFT + right) / 2:g}" y="{options.height - 8}" text-anchor="middle">{escape(options.x)}</text>')
    out.append(f'<text transform="translate(16 {(TOP + bottom) / 2:g}) rotate(-90)" text-anchor="middle">'
               f'{escape(options.field)}</text>')

    def line(points, style):
        if len(points) == 1:
            return f'<circle cx="{x(points[0][0]):.2f}" cy="{y(points[0][1]):.2f}" r="3" {style.replace("stroke", "fill", 1)}/>'
        where = " ".join(f"{x(a):.2f},{y(b):.2f}" for a, b in points)
        return f'<polyline fill="none" {style} points="{where}"/>'

    for i, (_, points) in enumerate(series):
        color = COLORS[i % len(COLORS)]
        if options.smooth > 1:
            out.append(line(points, f'stroke="{color}" stroke-opacity="0.25"'))
            points = smoothed(points, options.smooth)
        out.append(line(points, f'stroke="{color}" stroke-width="1.6"'))
    if len(series) > 1:
        for i, (label, _) in enumerate(series):
            at = TOP + 14 + 18 * i
            out.append(f'<path d="M{right - 150} {at - 4}h22" stroke="{COLORS[i % len(COLORS)]}" stroke-width="3"/>')
            out.append(f'<text x="{right - 122}" y="{at}">{escape(label)}</text>')
    return "\n".join(out) + "\n</svg>\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", nargs="+", metavar="[LABEL=]FILE", help="what --log wrote")
    parser.add_argument("-o", "--output", required=True, metavar="FILE.svg")
    parser.add_argument("--field", default="loss", help="what is drawn, several with commas between (loss)")
    parser.add_argument("--x", default="step", help="what it is drawn over: step, tokens_seen, … (step)")
    parser.add_argument("--smooth", type=int, default=1, metavar="N", help="mean of N points (1: none)")
    parser.add_argument("--log-x", action="store_true")
    parser.add_argument("--log-y", action="store_true")
    parser.add_argument("--title", default="")
    parser.add_argument("--width", type=int, default=800)
    parser.add_argument("--height", type=int, default=450)
    options = parser.parse_args()
    if options.smooth < 1:
        raise Wrong(f"--smooth is {options.smooth}; use 1 or more")
    if options.width < 200 or options.height < 150:
        raise Wrong(f"the picture is {options.width} x {options.height}; use 200 x 150 or more")
    series = []
    fields = options.field.split(",")
    for log in options.logs:
        label, equals, path = log.partition("=")
        if not equals or os.path.exists(log):
            label, path = os.path.splitext(os.path.basename(log))[0], log
        of_log = [(f"{label}, {field}" if len(fields) > 1 else label, read(path, options.x, field)) for field in fields]
        if not any(points for _, points in of_log):
            raise Wrong(f"no line of '{path}' has numbers as '{options.x}' and '{options.field}'")
        series += [(name, points) for name, points in of_log if points]
    picture = draw(series, options)
    try:
        with open(options.output, "w", encoding="utf-8") as file:
            file.write(picture)
    except OSError as error:
        raise Wrong(f"cannot write '{options.output}': {error.strerror}")


if __name__ == "__main__":
    try:
        main()
    except Wrong as wrong:
        print(f"error: {wrong}", file=sys.stderr)
        sys.exit(1)
