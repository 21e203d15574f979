"""Measure what gan_1d.py learns, what each of its choices is worth, and what it costs.

    python tests/bench.py                     every row; writes tests/RESULTS.md
    python tests/bench.py "STEPS = 500"       chosen rows, which are only printed

Each row replaces lines of the script's text, runs its main(), and reads the last line of the table
that it prints. W1 is the earth mover's distance, in standard deviations of R, as printed there; std
is the standard deviation of the fakes, divided by that of the real samples.
"""
import concurrent.futures
import contextlib
import io
import multiprocessing
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
SOURCE = (ROOT / "gan_1d.py").read_text(encoding="utf-8")
NORMAL = "torch.normal(REAL_MEAN, REAL_STD, (n, 1), device=DEVICE)"
HUMPS = "2.0 * torch.randn(n, 1).sign() + 0.5 * torch.randn(n, 1)"
SATURATING = [("loss = bce(D(fake), 1)", "loss = -bce(D(fake), 0)")]
LEAKY_G = [("(NOISE_DIM, G_HIDDEN), nn.Tanh()", "(NOISE_DIM, G_HIDDEN), nn.LeakyReLU(0.2)"),
           ("(G_HIDDEN, G_HIDDEN), nn.Tanh()", "(G_HIDDEN, G_HIDDEN), nn.LeakyReLU(0.2)")]
TANH_D = [("(1, D_HIDDEN), nn.LeakyReLU(0.2)", "(1, D_HIDDEN), nn.Tanh()"),
          ("(D_HIDDEN, D_HIDDEN), nn.LeakyReLU(0.2)", "(D_HIDDEN, D_HIDDEN), nn.Tanh()")]
SIZE = [("torch.exp(2 * self.size) * ", "")]
CONSTANT = [("        schedule_d.step()\n        schedule_g.step()\n", "")]


def constants(**values):
    """A row's label and its replacements, from new values of constants."""
    lines = [f"{name} = {value}" for name, value in values.items()]
    return ", ".join(lines), [(rf"^{name} = .*", line) for name, line in zip(values, lines)]


def row(label, replacements, **values):
    """The same, with other lines of the text replaced, too."""
    names, lines = constants(**values)
    return ", ".join(filter(None, (label, names))), lines + [
        (re.escape(old), new) for old, new in replacements]


def data(label, expression):
    return row(f"R is {label}", [(NORMAL, expression)])


TARGETS = [(0, 1), (-5, 1), (10, 2), (-3, 0.5), (4, 0.5), (0, 10), (20, 5), (-20, 5), (50, 10),
           (100, 15), (4, 100), (4, 0.25), (20, 1.25), (170, 10), (100, 1.25), (1000, 100),
           (4, 0.01)]
PARTS = {
    "The default": [("the default", [])],
    "Other data": [
        *(constants(REAL_MEAN=float(mean), REAL_STD=float(std)) for mean, std in TARGETS),
        data("two humps", HUMPS), data("uniform", "6 * torch.rand(n, 1) - 1"),
        data("exponential", "torch.empty(n, 1).exponential_()"),
        data("a Laplace", "torch.distributions.Laplace(0.0, 1.0).sample((n, 1))")],
    "What each choice is worth": [
        row("constant learning rates", CONSTANT),
        row("D's rate constant", [("        schedule_d.step()\n", "")]),
        row("both rates fall like G's", [("power=0.5", "power=2")]),
        row("both rates fall like D's", [("power=2", "power=0.5")]),
        row("without the size", SIZE),
        row("without the size", SIZE, REAL_MEAN=100.0, REAL_STD=15.0),
        row("without D's scaling", [("(x - self.mean) / self.std", "x")]),
        row("without D's scaling", [("(x - self.mean) / self.std", "x")], REAL_MEAN=20.0),
        row("G with leaky ReLU", LEAKY_G), row("D with tanh", TANH_D),
        row("D with tanh", TANH_D, REAL_MEAN=20.0),
        constants(D_STEPS=1), constants(BETAS=(0.0, 0.999)), constants(BETAS=(0.5, 0.999)),
        constants(BETAS=(0.9, 0.999)), constants(G_HIDDEN=16), constants(D_HIDDEN=16),
        constants(D_HIDDEN=64), constants(STEPS=1250), constants(STEPS=5000), constants(G_LR=5e-3),
        constants(G_LR=2e-2), constants(D_LR=5e-3), constants(D_LR=2e-2),
        row("saturating loss", SATURATING)],
    "Predict, then run": [
        constants(NOISE_DIM=2), constants(NOISE_DIM=8), constants(G_HIDDEN=2),
        constants(G_HIDDEN=4), constants(D_HIDDEN=4), constants(BATCH_SIZE=32),
        constants(BATCH_SIZE=64), constants(STEPS=500)],
    "What goes wrong": [
        constants(BETAS=(0.9, 0.999), D_LR=3e-3, D_STEPS=1), constants(D_LR=3e-3, D_STEPS=1),
        constants(D_HIDDEN=2), constants(D_HIDDEN=8), constants(D_LR=1e-6), constants(D_LR=1e-4),
        constants(G_LR=1e-1), constants(G_LR=1e-1, D_STEPS=10), constants(G_LR=3e-2),
        row("saturating loss", SATURATING, REAL_MEAN=20.0), constants(REAL_MEAN=20.0),
        constants(REAL_MEAN=2000.0, REAL_STD=1.0), constants(G_LR=1e-4)],
}


def text(replacements):
    """The script with each replacement made once."""
    result = SOURCE
    for old, new in replacements:
        result, count = re.subn(old, lambda _: new, result, flags=re.M)
        assert count == 1, f"{count} places match {old!r}, not one"
    return result


def learn(replacements, seed):
    """Run main() of the changed script; return W1 and std."""
    module = {"__name__": "gan_1d"}
    exec(text(replacements), module)
    module["SEED"] = seed
    out = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(out):
        os.chdir(folder)
        module["main"]()
    module["plt"].close("all")
    real, fake = re.findall(r"^(?:real|fake) +(.*)", out.getvalue(), re.M)
    return float(fake.split()[-1]), float(fake.split()[1]) / float(real.split()[1])


def cost():
    """Seconds of a run and milliseconds of a step, in turns, so that a busy moment hits all."""
    unfused = [(r"fused=True\)  # .*", ")"), ("fused=True", "")]
    rows = {"the script": [], "without fused=True": unfused,
            **dict(constants(BATCH_SIZE=n) for n in (64, 4096))}
    times, whole = {label: [] for label in rows}, []
    torch.set_num_threads(1)
    for _ in range(7):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            subprocess.run([sys.executable, ROOT / "gan_1d.py"], cwd=folder, capture_output=True,
                           check=True, env={**os.environ, "MPLBACKEND": "Agg"})
            whole.append(time.perf_counter() - start)
        for label, replacements in rows.items():
            module = {"__name__": "gan_1d"}
            exec(text(replacements + constants(STEPS=300, LOG_EVERY=10**6)[1]), module)
            players = module["R"], module["I"], module["Generator"](), module["Discriminator"]()
            start = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):
                module["train"](*players)
            times[label].append((time.perf_counter() - start) / 300 * 1e3)
    yield f"A whole run, import and picture included: {statistics.median(whole):.1f} s.\n\n"
    yield "| a step | ms |\n|---|---|\n"
    for label, values in times.items():
        yield f"| {label} | {statistics.median(values):.2f} |\n"


def main():
    chosen = sys.argv[1:]
    report = ("# Measurements\n\nMade by `python tests/bench.py`, whose docstring says what W1 and "
              f"std are. PyTorch {torch.__version__}, Python {platform.python_version()}, CPU.\n")
    os.environ.update(MPLBACKEND="Agg", CUDA_VISIBLE_DEVICES="")
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, spawn) as pool:
        for part, rows in PARTS.items():
            seeds = 20 if part == "The default" else 3
            report += f"\n## {part}, seeds 0 to {seeds - 1}\n\n"
            report += "| | W1, median | worst | std, lowest | highest |\n|---|---|---|---|---|\n"
            jobs = [(label, [pool.submit(learn, replacements, seed) for seed in range(seeds)])
                    for label, replacements in rows if not chosen or label in chosen]
            for label, runs in jobs:
                w1, std = zip(*[run.result() for run in runs])
                cells = statistics.median(w1), max(w1), min(std), max(std)
                line = f"| {label} |" + "".join(f" {cell:.3f} |" for cell in cells)
                print(line, flush=True)
                report += line + "\n"
    if not chosen:
        report += "\n## Cost\n\n" + "".join(cost())
        (ROOT / "tests" / "RESULTS.md").write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()
