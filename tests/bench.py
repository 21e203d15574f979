"""Measure what gan_1d.py learns, what each of its choices is worth, and what it costs.

    python tests/bench.py                     every row; writes tests/RESULTS.md
    python tests/bench.py "STEPS = 500"       rows of your choice, which are only printed

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
CHANGES = {  # what a row's label stands for: old and new text
    "the default": [],
    "R is two humps": [(NORMAL, "2.0 * torch.randn(n, 1).sign() + 0.5 * torch.randn(n, 1)")],
    "R is uniform": [(NORMAL, "6 * torch.rand(n, 1) - 1")],
    "R is exponential": [(NORMAL, "torch.empty(n, 1).exponential_()")],
    "R is a Laplace": [(NORMAL, "torch.distributions.Laplace(0.0, 1.0).sample((n, 1))")],
    "constant learning rates": [("        schedule_d.step()\n        schedule_g.step()\n", "")],
    "D's rate constant": [("        schedule_d.step()\n", "")],
    "both rates fall like G's": [("power=0.5", "power=2")],
    "both rates fall like D's": [("power=2", "power=0.5")],
    "without the size": [("torch.exp(2 * self.size) * ", "")],
    "without D's scaling": [("(x - self.mean) / self.std", "x")],
    "G with leaky ReLU": [
        ("(NOISE_DIM, G_HIDDEN), nn.Tanh()", "(NOISE_DIM, G_HIDDEN), nn.LeakyReLU(0.2)"),
        ("(G_HIDDEN, G_HIDDEN), nn.Tanh()", "(G_HIDDEN, G_HIDDEN), nn.LeakyReLU(0.2)")],
    "D with tanh": [
        ("(1, D_HIDDEN), nn.LeakyReLU(0.2)", "(1, D_HIDDEN), nn.Tanh()"),
        ("(D_HIDDEN, D_HIDDEN), nn.LeakyReLU(0.2)", "(D_HIDDEN, D_HIDDEN), nn.Tanh()")],
    "saturating loss": [("loss = bce(D(fake), 1)", "loss = -bce(D(fake), 0)")],
    "without fused=True": [("fused=True)  # fused is faster", ")"), ("fused=True", "")],
}
TARGETS = [(0, 1), (-5, 1), (10, 2), (-3, 0.5), (4, 0.5), (0, 10), (20, 5), (-20, 5), (50, 10),
           (100, 15), (4, 100), (4, 0.25), (20, 1.25), (170, 10), (300, 30), (500, 50),
           (100, 1.25), (1000, 100), (4, 0.01)]
PARTS = {
    "The default": ["the default"],
    "Other data": [
        *(f"REAL_MEAN = {float(mean)}, REAL_STD = {float(std)}" for mean, std in TARGETS),
        "R is two humps", "R is uniform", "R is exponential", "R is a Laplace"],
    "What each choice is worth": [
        "constant learning rates", "D's rate constant", "both rates fall like G's",
        "both rates fall like D's", "without the size",
        "without the size, REAL_MEAN = 100.0, REAL_STD = 15.0", "without D's scaling",
        "without D's scaling, REAL_MEAN = 20.0", "G with leaky ReLU", "D with tanh",
        "D with tanh, REAL_MEAN = 20.0", "D_STEPS = 1", "BETAS = (0.0, 0.999)",
        "BETAS = (0.5, 0.999)", "BETAS = (0.9, 0.999)", "G_HIDDEN = 16", "D_HIDDEN = 16",
        "D_HIDDEN = 64", "STEPS = 1250", "STEPS = 5000", "G_LR = 0.005", "G_LR = 0.02",
        "D_LR = 0.005", "D_LR = 0.02", "saturating loss"],
    "Predict, then run": [
        "NOISE_DIM = 2", "NOISE_DIM = 8", "G_HIDDEN = 2", "G_HIDDEN = 4", "D_HIDDEN = 4",
        "BATCH_SIZE = 32", "BATCH_SIZE = 64", "STEPS = 500"],
    "What goes wrong": [
        "BETAS = (0.9, 0.999), D_LR = 0.003, D_STEPS = 1", "D_LR = 0.003, D_STEPS = 1",
        "D_HIDDEN = 2", "D_HIDDEN = 8", "D_LR = 1e-06", "D_LR = 0.0001", "G_LR = 0.1",
        "G_LR = 0.1, D_STEPS = 10", "G_LR = 0.03", "saturating loss, REAL_MEAN = 20.0",
        "REAL_MEAN = 2000.0, REAL_STD = 1.0", "G_LR = 0.0001"],
}


def script(label):
    """Run the script, changed as the label says: names of CHANGES and new lines of constants."""
    text = SOURCE
    for change in re.split(", (?=[A-Z])", label):  # at a comma before a capital
        if change in CHANGES:
            pairs = CHANGES[change]
        else:
            pairs = [(re.search(rf"^{change.split()[0]} = .*", SOURCE, re.M)[0], change)]
        for old, new in pairs:
            assert text.count(old) == 1, f"not once in the script: {old!r}"
            text = text.replace(old, new)
    module = {"__name__": "gan_1d"}
    exec(text, module)
    return module


def learn(label, seed):
    """Run main() of the changed script, without the picture; return W1 and std."""
    module = script(f"{label}, SEED = {seed}")
    module["plot"] = lambda *_: None
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        module["main"]()
    real, fake = re.findall(r"^(?:real|fake) +(.*)", out.getvalue(), re.M)
    return float(fake.split()[-1]), float(fake.split()[1]) / float(real.split()[1])


def cost():
    """Seconds of a run and milliseconds of a step, in turns, so that a busy moment hits all."""
    rows = "the default", "without fused=True", "BATCH_SIZE = 64", "BATCH_SIZE = 4096"
    times = {label: [] for label in rows}
    whole = []
    torch.set_num_threads(1)
    for _ in range(7):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            subprocess.run([sys.executable, ROOT / "gan_1d.py"], cwd=folder, capture_output=True,
                           check=True)
            whole.append(time.perf_counter() - start)
        for label in rows:
            module = script(f"{label}, STEPS = 300, LOG_EVERY = 1000")
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
    parts = {"Your choice": chosen} if chosen else PARTS
    report = ("# Measurements\n\nMade by `python tests/bench.py`, whose docstring says what W1 and "
              f"std are. PyTorch {torch.__version__}, Python {platform.python_version()}, CPU.\n")
    os.environ.update(MPLBACKEND="Agg", CUDA_VISIBLE_DEVICES="")
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, spawn) as pool:
        for part, rows in parts.items():
            seeds = 20 if rows == ["the default"] else 3
            report += f"\n## {part}, seeds 0 to {seeds - 1}\n\n"
            report += "| | W1, median | worst | std, lowest | highest |\n|---|---|---|---|---|\n"
            jobs = [(label, [pool.submit(learn, label, seed) for seed in range(seeds)])
                    for label in rows]
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
