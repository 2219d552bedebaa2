#!/usr/bin/env python3
"""Pictures of how speed goes with prompt length, context, model size and threads, with the limits.

    python3 bench/plots.py --lllm build/lllm --out docs/plots MODEL.gguf ...     # measure and draw
    python3 bench/plots.py --out docs/plots                                      # draw alone

Each model is swept by `lllm bench --json` (prompts of 1 to 2,048 tokens with one and with all
threads; decode and prompts of 512 tokens at depths up to 16,384; --depths and --reps make it
shorter); the machine's limits are measured in the same run. What came out goes to OUT/rows.jsonl,
one line for each run, and from there to batch.svg, depth.svg, size.svg and threads.svg. A run takes
a model's lines out of rows.jsonl and puts new ones in; other models' lines stay.

Limits are drawn broken, in the colour of their model: decode cannot read weights, and the keys and
values of its context, faster than memory gives them; a prompt of n tokens reads the weights once,
and its products cannot be made faster than the unit that computes them makes them.
"""
import argparse
import json
import math
import pathlib
import subprocess
import sys
from xml.sax.saxutils import escape

PROMPTS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048]
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f00", "#000000"]
FONT = "font-family='Helvetica,Arial,sans-serif'"


# ---- measuring ----

def bench(options, model, *arguments):
    command = [options.lllm, "bench", str(model), "--json", "--quiet", "--reps", str(options.reps),
               *arguments]
    print(" ".join(command), file=sys.stderr)
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode:
        sys.exit(f"lllm bench failed with status {run.returncode}")
    return json.loads(run.stdout) | {"model": model.name}  # wherever it lies


def measure(options, model):
    threads = ",".join(str(n) for n in options.threads)
    prompts = ",".join(str(n) for n in PROMPTS)
    depths = ",".join(str(n) for n in options.depths)
    yield {"model": model.stem, "sweep": "batch",
           "report": bench(options, model, "--prefill", prompts, "--decode", "32", "--threads",
                           threads, "--machine")}
    yield {"model": model.stem, "sweep": "depth",
           "report": bench(options, model, "--prefill", "512", "--decode", "32", "--depth", depths,
                           "--threads", str(max(options.threads)), "--machine")}


def update(options):
    path = options.out / "rows.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for model in options.models:
        fresh = list(measure(options, model))
        lines = [line for line in lines if line["model"] != model.stem] + fresh
        options.out.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return lines


# ---- what was measured ----

class Machine:
    """The highest limits of all runs: what else the machine did can only have lowered them."""

    def __init__(self, lines):
        machines = [line["report"]["machine"] for line in lines]
        self.processor, self.threads = machines[-1]["processor"], machines[-1]["threads"]
        self.read = {n: max(m["read"][k] for m in machines)
                     for n, k in ((1, "one_thread_gb_s"), (0, "gb_s"))}
        self.units = [u["unit"] for u in machines[-1]["peaks"]]
        self.peaks = {n: {u: max(p[k] for m in machines for p in m["peaks"] if p["unit"] == u)
                          for u in self.units} for n, k in ((1, "one_thread_gops"), (0, "gops"))}

    def note(self):
        units = ", ".join(f"{u} {self.peaks[0][u]:,.0f}" for u in self.units[-3:])
        return (f"{self.processor}, {self.threads} threads: reads {self.read[0]:.1f} GB/s; "
                f"Gop/s: {units}.")


class Model:
    """The rows of one model and its limits. threads: 1, or 0 for all."""

    def __init__(self, name, colour, machine):
        self.name, self.colour, self.machine, self.reports = name, colour, machine, {}

    def rows(self, sweep, test, threads):
        return [r for r in self.reports[sweep]["rows"] if r["test"] == test and
                r["threads"] == threads] if sweep in self.reports else []

    def threads(self):
        return sorted({r["threads"] for r in self.reports["batch"]["rows"]})

    def read_limit(self, depth=0, threads=0):
        """Tokens a second of decode at the rate at which memory can be read."""
        report = self.reports["batch"]
        return 1e9 * self.machine.read[threads] / (report["weight_bytes_per_token"] +
                                                   depth * report["cache_bytes_per_token"])

    def prompt_limit(self, n, threads=0):
        """Tokens a second of a prompt: one reading of the weights, or the products."""
        report, peaks = self.reports["batch"], self.machine.peaks[threads]
        peak = peaks.get(report["prefill"].get("peak_unit"), max(peaks.values()))
        return min(n * self.read_limit(0, threads), 1e9 * peak / report["operations_per_token"])


def models_of(lines):
    models = {}
    machine = Machine(lines) if lines else None
    for line in lines:
        name = line["model"]
        models.setdefault(name, Model(name, COLOURS[len(models) % len(COLOURS)], machine))
        models[name].reports[line["sweep"]] = line["report"]
    return [m for m in models.values() if "batch" in m.reports]


# ---- drawing ----

def number(value):
    if value >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


class Axis:
    """Values to pixels; logarithmic unless `linear`."""

    def __init__(self, values, ticks=None, linear=False, base=10, label=number):
        self.linear, self.label = linear, label
        low, high = min(values), max(values)
        if linear:
            self.low, self.high = 0, high * 1.08
        else:
            room = (high / low) ** 0.04 if high > low else 2
            self.low, self.high = low / room, high * room
        self.ticks = [t for t in (ticks or self.own_ticks(base))
                      if self.low * 0.999 <= t <= self.high * 1.001]

    def own_ticks(self, base):
        if self.linear:
            step = 10 ** math.floor(math.log10(self.high))
            step /= 1 if self.high / step > 4 else 2 if self.high / step > 2 else 5
            return [i * step for i in range(1 + int(self.high / step))]
        first, last = math.floor(math.log(self.low, base)), math.ceil(math.log(self.high, base))
        steps = [1, 2, 5] if base == 10 and last - first < 5 else [1]
        return [base ** e * s for e in range(first, last + 1) for s in steps]

    def place(self, value):
        if self.linear:
            return (value - self.low) / (self.high - self.low)
        return math.log(value / self.low) / math.log(self.high / self.low)


class Panel:
    """One diagram: series are lists of (x, y, lowest y, highest y) with their looks."""
    WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 430, 300, 64, 40, 48

    def __init__(self, title, x_title, y_title):
        self.title, self.x_title, self.y_title, self.series = title, x_title, y_title, []

    def add(self, points, colour, dash="", marks=True, faint=False):
        if points:
            self.series.append((points, colour, dash, marks, faint))

    def draw(self, at_x, at_y, x_axis, y_axis):
        def px(v):
            return at_x + self.LEFT + x_axis.place(v) * self.WIDTH

        def py(v):
            return at_y + self.TOP + (1 - y_axis.place(v)) * self.HEIGHT

        left, right = at_x + self.LEFT, at_x + self.LEFT + self.WIDTH
        top, bottom = at_y + self.TOP, at_y + self.TOP + self.HEIGHT
        out = [f"<text x='{left}' y='{top - 14}' font-size='14' font-weight='bold'>"
               f"{escape(self.title)}</text>"]
        for t in y_axis.ticks:
            out.append(f"<path d='M{left} {py(t):.1f}H{right}' stroke='#ddd'/>"
                       f"<text x='{left - 6}' y='{py(t) + 4:.1f}' text-anchor='end'>"
                       f"{y_axis.label(t)}</text>")
        for t in x_axis.ticks:
            out.append(f"<path d='M{px(t):.1f} {top}V{bottom}' stroke='#eee'/>"
                       f"<text x='{px(t):.1f}' y='{bottom + 17}' text-anchor='middle'>"
                       f"{x_axis.label(t)}</text>")
        out.append(f"<rect x='{left}' y='{top}' width='{self.WIDTH}' height='{self.HEIGHT}' "
                   f"fill='none' stroke='#888'/>")
        out.append(f"<text x='{(left + right) / 2}' y='{bottom + 38}' text-anchor='middle'>"
                   f"{escape(self.x_title)}</text>"
                   f"<text transform='translate({at_x + 12} {(top + bottom) / 2}) rotate(-90)' "
                   f"text-anchor='middle'>{escape(self.y_title)}</text>")
        for points, colour, dash, marks, faint in self.series:
            path = "L".join(f"{px(p[0]):.1f} {py(p[1]):.1f}" for p in points)
            width = 1.2 if dash else 2
            out.append(f"<path d='M{path}' fill='none' stroke='{colour}' stroke-width='{width}' "
                       f"stroke-dasharray='{dash}' opacity='{0.55 if faint else 1}'/>")
            for p in points if marks else []:
                out.append(f"<path d='M{px(p[0]):.1f} {py(p[2]):.1f}V{py(p[3]):.1f}' "
                           f"stroke='{colour}'/><circle cx='{px(p[0]):.1f}' cy='{py(p[1]):.1f}' "
                           f"r='3' fill='{'#fff' if faint else colour}' stroke='{colour}'/>")
        return "\n".join(out)


def picture(path, panels, axes, legend, note):
    """Panels side by side above a legend of (text, colour, dash, faint)."""
    step = Panel.LEFT + Panel.WIDTH + 26
    width = step * len(panels) + 10
    height = Panel.TOP + Panel.HEIGHT + Panel.BOTTOM
    body = [p.draw(i * step + 8, 4, x, y) for i, (p, (x, y)) in enumerate(zip(panels, axes))]
    x, y = 24, height + 14
    for text, colour, dash, faint in legend:
        room = 56 + 7 * len(text)
        if x + room > width:
            x, y = 24, y + 20
        body.append(f"<path d='M{x} {y - 4}h26' stroke='{colour}' stroke-width='2' "
                    f"stroke-dasharray='{dash}' opacity='{0.55 if faint else 1}'/>"
                    f"<text x='{x + 32}' y='{y}'>{escape(text)}</text>")
        x += room
    for i, line in enumerate(note):
        body.append(f"<text x='24' y='{y + 22 + 16 * i}' fill='#555'>{escape(line)}</text>")
    height = y + 22 + 16 * len(note)
    path.write_text(f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' "
                    f"viewBox='0 0 {width} {height}' font-size='12' {FONT}>\n"
                    f"<rect width='100%' height='100%' fill='#fff'/>\n" + "\n".join(body) +
                    "\n</svg>\n")
    print(path, file=sys.stderr)


def point(x, row):
    s = row["tokens_per_second"]
    return (x, s["median"], s["min"], s["max"])


def values(panel, index):
    return [v for points, *_ in panel.series for p in points
            for v in ([p[0]] if index == 0 else p[1:])]


def curve(function, xs):
    return [(x, y, y, y) for x, y in ((x, function(x)) for x in xs)]


def between(low, high, n=60):
    return [low * (high / low) ** (i / n) for i in range(n + 1)]


def model_legend(models, extra=()):
    return [(m.name, m.colour, "", False) for m in models] + list(extra)


LIMIT = ("limit", "#444", "5 3", False)


def limited_by(n):
    return 1 if n == 1 else 0


def draw_batch(models, out):
    counts = sorted({models[0].threads()[0], models[0].threads()[-1]})
    panel = [Panel(f"Prompt, {n} thread{'s' * (n > 1)}", "prompt tokens", "tokens/s")
             for n in counts]
    for p, n in zip(panel, counts):
        for m in models:
            p.add(curve(lambda x, m=m, n=n: m.prompt_limit(x, limited_by(n)),
                        between(PROMPTS[0], PROMPTS[-1])), m.colour, "5 3", marks=False)
            p.add([point(r["tokens"], r) for r in m.rows("batch", "prefill", n)], m.colour)
    every = [v for p in panel for v in values(p, 1)]
    axes = [(Axis(PROMPTS, PROMPTS[::2]), Axis(every)) for p in panel]
    picture(out / "batch.svg", panel, axes, model_legend(models, [LIMIT]),
            [models[0].machine.note()] + ["Limit: one reading of the weights for all tokens, or the products "
                               "on the unit that computes them (registers alone)."])


def draw_depth(models, out):
    deep = [m for m in models if "depth" in m.reports]
    if not deep:
        return
    panels = [Panel("Decode", "tokens in the context", "tokens/s"),
              Panel("Prompt of 512 tokens", "tokens in the context before", "tokens/s")]
    for m in deep:
        n = max(m.threads())
        for p, test in zip(panels, ("decode", "prefill")):
            rows = m.rows("depth", test, n)
            depths = [r["depth"] for r in rows]
            p.add(curve(m.read_limit if test == "decode" else lambda _, m=m: m.prompt_limit(512),
                        [i * max(depths) / 60 for i in range(61)]), m.colour, "5 3", marks=False)
            p.add([point(r["depth"], r) for r in rows], m.colour)
    depths = values(panels[0], 0)
    ticks = [t for t in (0, 2048, 4096, 8192, 12288, 16384, 32768) if t <= max(depths)]
    axes = [(Axis(depths, ticks, linear=True), Axis(values(p, 1))) for p in panels]
    picture(out / "depth.svg", panels, axes, model_legend(deep, [LIMIT]),
            [models[0].machine.note()] + ["Limit: weights, keys and values at the rate of memory (decode); the "
                               "products but attention's on the unit that computes them (prompt)."])


def draw_size(models, out):
    panels = [Panel("Decode", "weights that a token reads", "tokens/s"),
              Panel("Prompt of 512 tokens", "weights that a token reads", "tokens/s")]
    byte_ticks = [25e6, 50e6, 100e6, 200e6, 500e6, 1e9, 2e9, 5e9, 10e9, 20e9]
    sizes = [m.reports["batch"]["weight_bytes_per_token"] for m in models]
    for p, test in zip(panels, ("decode", "prefill")):
        for m, size in zip(models, sizes):
            for n in m.threads():
                rows = [r for r in m.rows("batch", test, n) if test == "decode" or r["tokens"] == 512]
                p.add([point(size, r) for r in rows], m.colour,
                      faint=n == 1 and n != max(m.threads()))
    span = between(min(sizes) * 0.8, max(sizes) * 1.25)
    for p, test in zip(panels, ("decode", "prefill")):
        for m, size in zip(models, sizes):
            limit = m.read_limit() if test == "decode" else m.prompt_limit(512)
            p.add(curve(lambda _, y=limit: y, [size * 0.93, size * 1.07]), m.colour, marks=False)

    def label(t):
        return f"{t / 1e9:g} GB" if t >= 1e9 else f"{t / 1e6:g} MB"
    axes = [(Axis(span, byte_ticks, label=label), Axis(values(p, 1))) for p in panels]
    picture(out / "size.svg", panels, axes, model_legend(models),
            [models[0].machine.note(),
             "Full: all threads, hollow: one thread. Bars are the limits with all threads: weights at "
             "the rate of memory; the products on the unit that computes them."])


def draw_threads(models, out):
    panels = [Panel("Decode", "threads", "tokens/s"),
              Panel("Prompt of 512 tokens", "threads", "tokens/s")]
    for p, test in zip(panels, ("decode", "prefill")):
        for m in models:
            points, limits = [], []
            for n in m.threads():
                for r in m.rows("batch", test, n):
                    if test == "decode" or r["tokens"] == 512:
                        points.append(point(n, r))
                if n in (1, max(m.threads())):
                    y = (m.read_limit(0, limited_by(n)) if test == "decode" else
                         m.prompt_limit(512, limited_by(n)))
                    limits.append((n, y, y, y))
            p.add(limits, m.colour, "5 3", marks=False)
            p.add(points, m.colour)
    counts = models[0].threads()
    axes = [(Axis(counts, counts), Axis(values(p, 1))) for p in panels]
    picture(out / "threads.svg", panels, axes, model_legend(models, [LIMIT]), [models[0].machine.note()])


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="*", type=pathlib.Path, metavar="MODEL.gguf")
    p.add_argument("--lllm", default="build/lllm")
    p.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs/plots"))
    p.add_argument("--threads", type=lambda t: [int(n) for n in t.split(",")], default=[1, 2],
                   metavar="LIST", help="the first and the last get a picture of their own")
    p.add_argument("--depths", type=lambda t: [int(n) for n in t.split(",")], metavar="LIST",
                   default=[0, 512, 1024, 2048, 4096, 8192, 16384])
    p.add_argument("--reps", type=int, default=3)
    options = p.parse_args()
    lines = update(options) if options.models else []
    path = options.out / "rows.jsonl"
    if not lines and path.exists():
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    models = models_of(lines)
    if not models:
        sys.exit(f"{path} has nothing to draw: name models to measure")
    for draw in draw_batch, draw_depth, draw_size, draw_threads:
        draw(models, options.out)


if __name__ == "__main__":
    main()
