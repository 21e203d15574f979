"""Measure gan_1d.py: how well G learns R, what each tweak does, what a step and a run cost.

    python tests/bench.py                    one seed a row, chosen rows, about a minute
    python tests/bench.py --full             every row; writes tests/RESULTS.md
    python tests/bench.py --full --only cost --original gan_pytorch.py    only that section of it

The tables of learning have a row for each change, measured on 100,000 fakes of each seed:

    W1       earth mover's distance, in standard deviations of R
    KS       largest gap between the two distribution functions
    TV       half the summed gap between two histograms of 64 bins over mean +- 4 std of R
    std off  |standard deviation of the fakes / that of R - 1|
    learned  how often the script itself says "G has learned R."

Each is given as its median and its worst over the seeds. R is measured on 1,000,000 samples. A
perfect sampler scores about W1 0.003, KS 0.003, TV 0.008. Run the costs on an idle machine.
"""
import argparse
import concurrent.futures
import contextlib
import datetime
import io
import math
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

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ["MPLBACKEND"] = "Agg"

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn  # noqa: E402

import gan_1d  # noqa: E402

FIGURES = ["W1", "KS", "TV", "std off"]
ORIGINAL = {name: value for name, value in vars(gan_1d).items() if not name.startswith("__")}
SCRIPT, RESULTS = ROOT / "gan_1d.py", ROOT / "tests" / "RESULTS.md"
LINES = []  # of what was printed


def say(line):
    print(line, flush=True)
    LINES.append(line)


# ---- What can be changed -----------------------------------------------------------------------

def leaky(x):
    return F.leaky_relu(x, 0.2)


def generator(act=torch.tanh, norm=True, wide=True):
    """The script's G with another activation, without LayerNorm, without wide biases."""
    class Generator(ORIGINAL["Generator"]):
        def __init__(self):
            super().__init__()
            if not wide:
                self.hidden2.reset_parameters()

        def forward(self, z):
            h = self.hidden2(act(self.hidden1(z)))
            return self.out(act(self.norm(h) if norm else h))
    return Generator


def discriminator(act=leaky, scaled=True):
    """The script's D with another activation, or with raw samples."""
    class Discriminator(ORIGINAL["Discriminator"]):
        def forward(self, x):
            h = (x - self.mean) / self.std if scaled else x
            return self.out(act(self.hidden2(act(self.hidden1(h)))))
    return Discriminator


def rates(g, d):
    """An Adam whose rate falls as (1 - step / STEPS) ** g for G, ** d for D."""
    class Adam(torch.optim.Adam):
        updates = 0

        def step(self):
            first = self.defaults["lr"]
            power, a_step = (g, 1) if first == gan_1d.G_LR else (d, gan_1d.D_STEPS)
            left = 1 - self.updates // a_step / gan_1d.STEPS
            self.param_groups[0]["lr"] = first * left**power
            self.updates += 1
            return super().step()
    return Adam


def average(R, I, G, D):
    """train(), but it leaves in G an average of its weights: EMA, decay 0.998 a step."""
    ema = AveragedModel(G, multi_avg_fn=get_ema_multi_avg_fn(0.998))

    def noise(n):  # drawn once a step
        ema.update_parameters(G)
        return I(n)

    history = ORIGINAL["train"](R, noise, G, D)
    G.load_state_dict(ema.module.state_dict())
    return history


def shown_the_answer(R, I, G, D):
    """No game: fit G to the ideal curve, the inverse of R's distribution function.

    Squared error, Adam's own betas, a rate that falls linearly from 3e-2: the best of 12 settings.
    """
    optimizer = torch.optim.Adam(G.parameters(), lr=3e-2)
    low, high = gan_1d.NOISE_RANGE
    for step in range(gan_1d.STEPS):
        optimizer.param_groups[0]["lr"] = 3e-2 * (1 - step / gan_1d.STEPS)
        z = I(gan_1d.BATCH_SIZE)
        share = ((z - low) / (high - low)).clamp(1e-6, 1 - 1e-6)
        ideal = gan_1d.REAL_MEAN + gan_1d.REAL_STD * torch.special.ndtri(share)
        optimizer.zero_grad()
        F.mse_loss(G(z), ideal).backward()
        optimizer.step()
    return [gan_1d.look(gan_1d.STEPS, G, D, R(5000), I(5000))]


def saturating(fake_logit):
    return F.logsigmoid(-fake_logit).mean()


def uniform(n):
    return torch.rand(n, 1, device=gan_1d.DEVICE)


def exponential(n):
    return -torch.log1p(-uniform(n))


def laplace(n):
    return exponential(n) - exponential(n)


def two_humps(n):
    return torch.where(uniform(n) < 0.5, -2.0, 2.0) + 0.5 * torch.randn_like(uniform(n))


# ---- The rows: a label, and what it changes, constants or names of the module ------------------

def constant(**changes):
    return ", ".join(f"{name} = {value}" for name, value in changes.items()), changes


def target(mean, std):
    return constant(REAL_MEAN=float(mean), REAL_STD=float(std))


NO_NORM = generator(norm=False, wide=False)
PARTS = {
    "default": ("The default", [("the default", {})]),
    "answer": ("How close could this G come?", [
        ("no game: G is shown the answer", {"train": shown_the_answer})]),
    "targets": ("Other normals", [
        *(target(m, s) for m in (-20, 0, 4, 20) for s in (1.25, 5) if (m, s) != (4, 1.25)),
        *(target(m, s) for m, s in ((0, 0.25), (4, 0.25), (20, 0.25), (-20, 0.25), (100, 1.25),
                                    (-100, 1.25), (4, 100), (4, 0.01)))]),
    "replaced": ("R replaced", [
        ("R is two humps", {"R": two_humps}),
        ("R is uniform", {"R": lambda n: 6 * uniform(n) - 1}),
        ("R is exponential", {"R": exponential}), ("R is a Laplace", {"R": laplace})]),
    "tweaks": ("The constants", [
        constant(NOISE_DIM=2), constant(NOISE_DIM=8), constant(NOISE_RANGE=(0.0, 1.0)),
        *(constant(**{name: units}) for name in ("G_HIDDEN", "D_HIDDEN")
          for units in (4, 16, 64, 128)), constant(D_HIDDEN=2),
        *(constant(BATCH_SIZE=n) for n in (64, 256, 1024)),
        *(constant(STEPS=n) for n in (gan_1d.STEPS // 2, 2 * gan_1d.STEPS)),
        *(constant(D_STEPS=n) for n in (1, 3, 5)),
        *(constant(**{name: ORIGINAL[name] * by}) for name in ("G_LR", "D_LR") for by in (0.5, 2)),
        constant(BETAS=(0.0, 0.9)), constant(BETAS=(0.5, 0.999)), constant(BETAS=(0.9, 0.999))]),
    "failures": ("Failures, and what helps", [
        constant(G_LR=1e-4), constant(G_LR=1e-4, STEPS=20_000), constant(D_LR=1e-6),
        constant(D_LR=7e-4), constant(D_LR=3e-3, D_STEPS=1),
        constant(BETAS=(0.9, 0.999), D_LR=3e-3, D_STEPS=1),
        ("the saturating loss", {"g_loss": saturating}),
        ("the saturating loss, REAL_MEAN = 20.0", {"g_loss": saturating, "REAL_MEAN": 20.0}),
        ("the 2017 code's: ELU, noise on (0, 1), Adam's betas", {
            "Generator": generator(F.elu), "Discriminator": discriminator(F.elu),
            "NOISE_RANGE": (0.0, 1.0), "BETAS": (0.9, 0.999)}),
        constant(REAL_MEAN=20.0, REAL_STD=0.25, STEPS=5000), constant(REAL_MEAN=100.0, STEPS=5000),
        constant(REAL_STD=100.0, STEPS=5000), constant(REAL_STD=100.0, G_LR=3e-2),
        constant(REAL_STD=0.01, STEPS=5000), constant(REAL_MEAN=300.0),
        constant(REAL_MEAN=300.0, STEPS=5000)]),
    "without": ("What each choice is worth", [
        ("without falling rates: both constant", {"Adam": rates(0, 0)}),
        ("without falling rates, but with an average of G", {
            "Adam": rates(0, 0), "train": average}),
        ("with an average of G", {"train": average}),
        ("both rates falling as a square root, as D's", {"Adam": rates(0.5, 0.5)}),
        ("both rates falling linearly", {"Adam": rates(1, 1)}),
        ("both rates falling as a square, as G's", {"Adam": rates(2, 2)}),
        ("without a falling rate of D", {"Adam": rates(2, 0)}),
        ("G's rate falling as a cube, D's linearly", {"Adam": rates(3, 1)}),
        ("without the faster D: D_STEPS = 1, D_LR = G_LR", {"D_STEPS": 1, "D_LR": gan_1d.G_LR}),
        ("ELU for tanh in G", {"Generator": generator(F.elu)}),
        ("ELU for leaky ReLU in D", {"Discriminator": discriminator(F.elu)}),
        ("tanh for leaky ReLU in D", {"Discriminator": discriminator(torch.tanh)}),
        ("tanh for leaky ReLU in D, R is two humps", {
            "Discriminator": discriminator(torch.tanh), "R": two_humps}),
        ("without D's scaled input", {"Discriminator": discriminator(scaled=False)}),
        ("without D's scaled input, REAL_MEAN = 20.0", {
            "Discriminator": discriminator(scaled=False), "REAL_MEAN": 20.0}),
        ("without LayerNorm and wide biases", {"Generator": NO_NORM}),
        ("without LayerNorm and wide biases, REAL_MEAN = 20.0, REAL_STD = 5.0", {
            "Generator": NO_NORM, "REAL_MEAN": 20.0, "REAL_STD": 5.0}),
        ("without LayerNorm and wide biases, REAL_MEAN = 100.0", {
            "Generator": NO_NORM, "REAL_MEAN": 100.0})]),
    "biases": ("What the wide biases are worth", [
        ("with wide biases", {}), ("without wide biases", {"Generator": generator(wide=False)})]),
}
SEEDS = {"default": 20, "answer": 20, "biases": 40}  # of a full run; 3 for the others
SHORT = {"default": 1, "targets": 1, "replaced": 1}  # rows of a short run, a seed each


# ---- Learning ----------------------------------------------------------------------------------

def figures(fake, real):
    """How far the fakes (n,) are from samples of R (m,): a dict with the keys FIGURES."""
    fake, real = np.sort(fake), np.sort(real)
    mean, std = real.mean(), real.std()
    middle = (np.arange(len(fake)) + 0.5) / len(fake)
    share = np.searchsorted(real, fake, "right") / len(real)
    edges = np.linspace(mean - 4 * std, mean + 4 * std, 65)
    bins = [np.histogram(x, edges)[0] / len(x) for x in (fake, real)]
    return {
        "W1": np.abs(fake - np.quantile(real, middle)).mean() / std,
        "KS": np.abs(share - middle).max() + 0.5 / len(fake),
        "TV": 0.5 * (np.abs(bins[0] - bins[1]).sum() + 2 - bins[0].sum() - bins[1].sum()),
        "std off": abs(fake.std() / std - 1),
    }


def learn(part, label, seed):
    """Run main() with a row's changes; return its figures and whether it says learned."""
    changes = dict(dict(PARTS[part][1])[label])
    vars(gan_1d).update(ORIGINAL)
    adam = torch.optim.Adam
    torch.optim.Adam = changes.pop("Adam", adam)
    vars(gan_1d).update(changes, SEED=seed)
    out = io.StringIO()
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(out):
            gan_1d.PLOT_FILE = os.path.join(folder, "gan_1d.png")
            with np.errstate(all="ignore"):  # moments of fakes that are all alike
                G = gan_1d.main()
        torch.manual_seed(1000 + seed)
        with torch.no_grad():
            fake, real = G(gan_1d.I(100_000)), gan_1d.R(1_000_000)
        row = figures(*(x.double().cpu().numpy().ravel() for x in (fake, real)))
    except SystemExit:  # the loss was no longer finite
        row = dict.fromkeys(FIGURES, math.inf)
    finally:
        torch.optim.Adam = adam
        vars(gan_1d).update(ORIGINAL)
    return {**row, "learned": "G has learned R." in out.getvalue()}


def table(part, rows, seeds, pool):
    say(f"\n## {PARTS[part][0]}\n")
    say(f"{datetime.date.today()}, seeds {seeds[0]} to {seeds[-1]}.\n")
    say("| |" + "".join(f" {name}, median | worst |" for name in FIGURES) + " learned |")
    say("|---" * (2 * len(FIGURES) + 2) + "|")
    jobs = {label: [pool.submit(learn, part, label, seed) for seed in seeds] for label, _ in rows}
    for label, runs in jobs.items():
        runs = [run.result() for run in runs]
        cells = ""
        for name in FIGURES:
            values = [run[name] if run[name] == run[name] else math.inf for run in runs]
            cells += f" {statistics.median(values):.3f} | {max(values):.3f} |"
        say(f"| {label} |{cells} {sum(run['learned'] for run in runs)} of {len(runs)} |")


# ---- Cost --------------------------------------------------------------------------------------

def plain_step():
    """The same step as one would first write it: BCE on probabilities, Adam as it comes."""
    G, D = gan_1d.Generator(), gan_1d.Discriminator()
    opt_g = torch.optim.Adam(G.parameters(), lr=gan_1d.G_LR, betas=gan_1d.BETAS)
    opt_d = torch.optim.Adam(D.parameters(), lr=gan_1d.D_LR, betas=gan_1d.BETAS)
    bce, n = nn.BCELoss(), gan_1d.BATCH_SIZE
    ones = torch.ones(n, 1, device=gan_1d.DEVICE)
    zeros = torch.zeros(n, 1, device=gan_1d.DEVICE)

    def step():
        for _ in range(gan_1d.D_STEPS):
            opt_d.zero_grad()
            real = bce(torch.sigmoid(D(gan_1d.R(n))), ones)
            fake = bce(torch.sigmoid(D(G(gan_1d.I(n)).detach())), zeros)
            (real + fake).backward()
            opt_d.step()
        opt_g.zero_grad()
        bce(torch.sigmoid(D(G(gan_1d.I(n)))), ones).backward()
        opt_g.step()
    return step


def milliseconds(steps, plain=False):
    """Cost of one step at 1 thread, from `steps` of them after a warm-up."""
    torch.set_num_threads(1)
    gan_1d.LOG_EVERY = 10**9
    if plain:
        step = plain_step()

    def play(count):
        if plain:
            for _ in range(count):
                step()
        else:
            gan_1d.STEPS = count
            with contextlib.redirect_stdout(io.StringIO()):
                gan_1d.train(gan_1d.R, gan_1d.I, gan_1d.Generator(), gan_1d.Discriminator())

    play(min(10, steps))
    start = time.perf_counter()
    play(steps)
    if gan_1d.DEVICE != "cpu":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps * 1e3


def seconds(script):
    """How long a whole run of a script takes."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run([sys.executable, script], cwd=folder, capture_output=True, check=True)
        return time.perf_counter() - start


def cost(full, original):
    say(f"\n## Cost\n\n{datetime.date.today()}.\n")
    steps, rounds = (300, 7) if full else (200, 3)
    rows = {"the script": {}, "written plainly": {"plain": True}}
    times, whole = {label: [] for label in rows}, []
    for _ in range(rounds):  # in turns, so that a busy moment hits all
        whole.append(seconds(SCRIPT))
        for label, how in rows.items():
            times[label].append(milliseconds(steps, **how))
    median = {label: statistics.median(values) for label, values in times.items()}
    say(f"A step on {gan_1d.DEVICE}, 1 thread, median of {rounds} times {steps} steps:\n")
    say("| | ms | the script takes of it |\n|---|---|---|")
    for label, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(times["the script"], values))
        say(f"| {label} | {median[label]:.2f} | {ratio:.2f} |")
    plain = statistics.median(a / b * 1e3 for a, b in zip(
        whole, times["written plainly"]))
    say(f"\nA whole run, from start to picture: {statistics.median(whole):.1f} s, as long as "
        f"{plain:,.0f} of the plain steps (medians of {rounds}).")
    try:
        import resource
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        say(f"Peak memory: {peak / (1024 if sys.platform != 'darwin' else 1024**2):.0f} MiB.")
    except ImportError:  # Windows
        pass
    if original:
        pairs = [(seconds(original), seconds(SCRIPT)) for _ in range(3)]
        theirs, ours = map(statistics.median, zip(*pairs))
        say(f"\nThe original's code of today, in turns with the script: {theirs:.0f} s against "
            f"{ours:.1f} s, {theirs / ours:.0f} times as long (medians of 3).")

    say("\nMilliseconds a step, 1 thread, by the size of both nets' hidden layers:\n")
    say("| | 32 | 128 | 512 |\n|---|---|---|---|")
    for batch in (64, 512, 4096):
        cells = ""
        for hidden in (32, 128, 512):
            vars(gan_1d).update(BATCH_SIZE=batch, G_HIDDEN=hidden, D_HIDDEN=hidden)
            count = max(2, min(steps, int(4e9 / (batch * (hidden + 300) ** 2))))
            cells += f" {milliseconds(count):.2f} |"
        say(f"| BATCH_SIZE = {batch} |{cells}")
    vars(gan_1d).update(ORIGINAL)


def processor():
    with contextlib.suppress(OSError):
        return re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="every row, and tests/RESULTS.md")
    parser.add_argument("--only", nargs="+", choices=[*PARTS, "cost"], help="only these parts")
    parser.add_argument("--seeds", help="a range such as 0-4 for every row")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (1)")
    parser.add_argument("--original", help="a path to the original's gan_pytorch.py, to time it")
    args = parser.parse_args()
    say("# Measurements\n\nMade by `python tests/bench.py --full`, whose docstring says what W1, "
        f"KS, TV and the rest are. torch {torch.__version__}, Python {platform.python_version()}, "
        f"{processor()}, {os.cpu_count()} cores; trained on {gan_1d.DEVICE}.")
    if not args.only or "cost" in args.only:
        cost(args.full, args.original)
    # spawn: a forked process cannot use the CUDA, or the threads, that this one has started
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(args.jobs, spawn) as pool:
        for part in args.only or (PARTS if args.full else SHORT):
            if part != "cost":
                rows = PARTS[part][1][:None if args.full or args.only else SHORT[part]]
                last = SEEDS.get(part, 3) - 1 if args.full else 0
                first, last = map(int, (args.seeds or f"0-{last}").split("-"))
                table(part, rows, range(first, last + 1), pool)
    if args.full:  # with --only, the other sections stay as they are
        old = RESULTS.read_text(encoding="utf-8") if args.only and RESULTS.exists() else ""
        sections = {}
        for section in re.split(r"\n(?=## )", old) + re.split(r"\n(?=## )", "\n".join(LINES)):
            sections[section.partition("\n")[0]] = section.strip()
        text = "\n\n".join(section for section in sections.values() if section)
        RESULTS.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
