#!/usr/bin/env python3
"""Draw the losses of trainings that followed one another, smoothed, over the tokens they read, as an SVG file.

usage: draw_curves.py OUT.svg NAME=log.jsonl [NAME=log.jsonl ...]

A log is the log.jsonl of `dyag finetune`. The loss is that of the tokens that are learned, in nats. Needs Python alone.
"""
import json
import math
import sys

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 300, 48, 40, 24
COLOURS = ["#4269d0", "#c77800", "#c8373f", "#2f8f83", "#8a5cb8", "#7a6a53", "#b0487a", "#3f6f2f"]


def read(file):
    """(tokens, loss) of each step, the loss as a running mean over some thirty steps."""
    points, mean = [], None
    for line in open(file, encoding="utf-8"):
        step = json.loads(line)
        if "loss" not in step:
            continue
        mean = step["loss"] if mean is None else 0.97 * mean + 0.03 * step["loss"]
        points.append((step["n_computed_tokens"], mean))
    total, summed = 0, []
    for tokens, loss in points:
        total += tokens
        summed.append((total, loss))
    return summed


def main():
    out, *logs = sys.argv[1:]
    parts, before = [], 0
    for log in logs:
        name, file = log.split("=", 1)
        points = [(before + tokens, loss) for tokens, loss in read(file)]
        before = points[-1][0]
        parts.append((name, points))
    lowest = min(loss for _, points in parts for _, loss in points)
    low, high = math.floor(math.log10(lowest) * 2) / 2, 1.0
    x = lambda tokens: LEFT + (WIDTH - LEFT - 16) * tokens / before
    y = lambda loss: TOP + (HEIGHT - TOP - BOTTOM) * (high - math.log10(loss)) / (high - low)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" fill="#555">']
    lines.append(f'<title>Loss of the learned tokens over tokens read</title><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>')
    for loss in [0.03, 0.1, 0.3, 1, 3, 10]:
        if low <= math.log10(loss) <= high:
            lines.append(f'<path d="M{LEFT} {y(loss):.1f}H{WIDTH - 16}" stroke="#ddd"/><text x="{LEFT - 8}" y="{y(loss) + 4:.1f}" text-anchor="end">{loss:g}</text>')
    for million in range(0, int(before / 1e6) + 1):
        lines.append(f'<text x="{x(million * 1e6):.1f}" y="{HEIGHT - 22}" text-anchor="middle">{million}</text>')
    lines.append(f'<text x="{WIDTH - 16}" y="{HEIGHT - 6}" text-anchor="end">million tokens</text><text x="8" y="14">loss, nats a token</text>')
    for place, ((name, points), colour) in enumerate(zip(parts, COLOURS, strict=True)):
        path = "L".join(f"{x(tokens):.1f} {y(loss):.1f}" for tokens, loss in points[:: max(1, len(points) // 300)])
        lines.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        lines.append(f'<text x="{(x(points[0][0]) + x(points[-1][0])) / 2:.1f}" y="{TOP + 2 + 14 * (place % 2)}" text-anchor="middle" fill="{colour}">{name}</text>')
    lines.append("</svg>\n")
    with open(out, "w", encoding="utf-8") as file:
        file.write("\n".join(lines))


if __name__ == "__main__":
    main()
