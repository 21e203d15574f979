"""Measure gan_1d.py: how well G learns R, what each tweak does, what a step and a run cost.

    python tests/bench.py                    one seed a row, chosen rows, below a minute
    python tests/bench.py --full             every row, 3 seeds each, and 20 seeds of the default
    python tests/bench.py --full --only tweaks --seeds 0-4 --jobs 2

Parts: default, targets, replaced, tweaks, without, ideas (the learning), cost (the time; run it on
an idle machine with --jobs 1). A row is median / worst over its seeds, on 100,000 fakes:

    mean   |mean of the fakes - mean of R|, in standard deviations of R
    std    |std of the fakes / std of R - 1|
    kurt   |kurtosis of the fakes - kurtosis of R|
    W1     earth mover's distance, in standard deviations of R
    KS     largest gap between the two distribution functions
    TV     half the summed gap between two histograms of 64 bins over mean +- 4 standard deviations
    says   how many seeds the script itself calls learned
    wrong  how many verdicts disagree with KS <= 0.05, as measured here on other samples

R is measured on 1,000,000 samples. A perfect sampler scores about W1 0.003, KS 0.003, TV 0.008.
"""
import argparse
import concurrent.futures
import contextlib
import io
import math
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
os.environ["MPLBACKEND"] = "Agg"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn  # noqa: E402

import gan_1d  # noqa: E402

FIGURES = "mean std kurt W1 KS TV".split()
ORIGINAL = {name: value for name, value in vars(gan_1d).items() if not name.startswith("__")}


# ---- rows: a label and what it changes, constants or names of the module ----------------------

def target(mean, std):
    return f"N({mean}, {std})", {"REAL_MEAN": mean, "REAL_STD": std}


def constant(**changes):
    return ", ".join(f"{name} = {value}" for name, value in changes.items()), changes


def uniform(n):
    return torch.rand(n, 1)


def exponential(n):
    return -torch.log1p(-uniform(n))


REPLACED = {
    "two humps": lambda n: torch.where(uniform(n) < 0.5, -2.0, 2.0) + 0.5 * torch.randn(n, 1),
    "uniform": lambda n: 6 * uniform(n) - 1,
    "exponential": exponential,
    "laplace": lambda n: exponential(n) - exponential(n),
}


class RawDiscriminator(gan_1d.Discriminator):
    def forward(self, x):
        return self.net(x)


def generator(change):
    def build():
        G = ORIGINAL["Generator"]()
        change(G)
        return G
    return build


def usual_bias(G):  # nn.Linear's own start: uniform on +-1 / sqrt(inputs)
    nn.init.uniform_(G[2].bias, -G[2].in_features**-0.5, G[2].in_features**-0.5)


def usual_mlp(G):
    G[3] = nn.Identity()
    usual_bias(G)


class ConstantRate(torch.optim.Adam):
    """Adam that goes back to its first learning rate before every step."""

    def step(self):
        self.param_groups[0]["lr"] = self.defaults["lr"]
        return super().step()


def average(R, I, G, D):
    """train(), but it leaves in G an average of its weights: EMA, decay 0.998 a turn."""
    ema = AveragedModel(G, multi_avg_fn=get_ema_multi_avg_fn(0.998))

    def noise(n):  # drawn once a turn
        ema.update_parameters(G)
        return I(n)

    history = ORIGINAL["train"](R, noise, G, D)
    G.load_state_dict(ema.module.state_dict())
    return history


class LinearRate(torch.optim.Adam):
    """Adam with the cube root of the share that is left of G's rate: it falls as D's."""

    def step(self):
        first, now = self.defaults["lr"], self.param_groups[0]["lr"]
        if first == gan_1d.G_LR:
            self.param_groups[0]["lr"] = first * (now / first) ** (1 / 3)
        return super().step()


def saturating(fake_logit):
    return torch.nn.functional.logsigmoid(-fake_logit).mean()


elu, tanh, leaky = nn.ELU(), nn.Tanh(), nn.LeakyReLU(0.2)
PARTS = {
    "default": [("the default", {})],
    "targets": [target(m, s) for m in (-20, 0, 4, 20) for s in (1.25, 5) if (m, s) != (4, 1.25)]
               + [target(0, 0.25), target(4, 0.25), target(20, 0.25), target(-20, 0.25),
                  target(100, 1.25), target(-100, 1.25), target(4, 100.0), target(4, 0.01)],
    "replaced": [(name, {"R": sampler}) for name, sampler in REPLACED.items()],
    "tweaks": [constant(NOISE_DIM=2), constant(NOISE_DIM=8),
               constant(G_HIDDEN=16), constant(G_HIDDEN=64), constant(G_HIDDEN=128),
               constant(D_HIDDEN=16), constant(D_HIDDEN=64), constant(D_HIDDEN=128),
               constant(BATCH_SIZE=64), constant(BATCH_SIZE=512), constant(BATCH_SIZE=1024),
               constant(STEPS=gan_1d.STEPS // 2), constant(STEPS=2 * gan_1d.STEPS),
               constant(D_STEPS=1), constant(D_STEPS=5),
               constant(G_LR=gan_1d.G_LR / 2), constant(G_LR=2 * gan_1d.G_LR),
               constant(D_LR=gan_1d.D_LR / 2), constant(D_LR=2 * gan_1d.D_LR),
               ("both activations ELU", {"G_ACTIVATION": elu, "D_ACTIVATION": elu}),
               ("both activations tanh", {"G_ACTIVATION": tanh, "D_ACTIVATION": tanh}),
               ("both activations leaky ReLU", {"G_ACTIVATION": leaky, "D_ACTIVATION": leaky})],
    "without": [("falling rates: both constant", {"Adam": ConstantRate}),
                ("falling rates, but with an average of G",
                 {"Adam": ConstantRate, "train": average}),
                ("G's steeper fall: linear, as D's", {"Adam": LinearRate}),
                ("the faster D: D_STEPS = 1, D_LR = G_LR", {"D_STEPS": 1, "D_LR": gan_1d.G_LR}),
                ("BETAS = (0.9, 0.999), Adam's own", {"BETAS": (0.9, 0.999)}),
                ("BETAS = (0.5, 0.999), as in DCGAN", {"BETAS": (0.5, 0.999)}),
                ("BETAS = (0.0, 0.9)", {"BETAS": (0.0, 0.9)}),
                ("tanh in G: softsign", {"G_ACTIVATION": nn.Softsign()}),
                ("tanh in G: ELU", {"G_ACTIVATION": elu}),
                ("leaky ReLU in D: ELU", {"D_ACTIVATION": elu}),
                ("noise on (-1, 1): on (0, 1)", {"NOISE_RANGE": (0.0, 1.0)}),
                ("D's scaled input: raw", {"Discriminator": RawDiscriminator}),
                ("LayerNorm in G and the wide biases", {"Generator": generator(usual_mlp)}),
                ("the wide biases before it", {"Generator": generator(usual_bias)}),
                ("LayerNorm and wide biases, at N(100, 1.25)",
                 {"Generator": generator(usual_mlp), "REAL_MEAN": 100}),
                ("G's steeper fall, at N(20, 1.25)", {"Adam": LinearRate, "REAL_MEAN": 20}),
                ("G's steeper fall, R an exponential", {"Adam": LinearRate, "R": exponential}),
                ("leaky ReLU in D: tanh, R two humps",
                 {"D_ACTIVATION": tanh, "R": REPLACED["two humps"]}),
                ("D's scaled input, at N(20, 1.25)",
                 {"Discriminator": RawDiscriminator, "REAL_MEAN": 20})],
    "ideas": [("the 2017 code's: ELU, noise on (0, 1), Adam's betas",
               {"G_ACTIVATION": elu, "D_ACTIVATION": elu, "NOISE_RANGE": (0.0, 1.0),
                "BETAS": (0.9, 0.999)}),
              ("with an average of G's weights", {"train": average}),
              ("saturating loss for G", {"g_loss": saturating}),
              ("saturating loss for G, at N(20, 1.25)", {"g_loss": saturating, "REAL_MEAN": 20}),
              constant(D_HIDDEN=2), constant(D_HIDDEN=4)],
}


# ---- learning ---------------------------------------------------------------------------------

def figures(fake, real):
    """How far the fakes (n,) are from R's samples (m,): a dict with the keys FIGURES."""
    fake, real = np.sort(fake), np.sort(real)
    mean, std = real.mean(), real.std()
    middle = (np.arange(len(fake)) + 0.5) / len(fake)
    share = np.searchsorted(real, fake, "right") / len(real)
    edges = np.linspace(mean - 4 * std, mean + 4 * std, 65)
    bins = [np.histogram(x, edges)[0] / len(x) for x in (fake, real)]
    kurtosis = [(((x - x.mean()) / (x.std() or math.nan)) ** 4).mean() for x in (fake, real)]
    return {
        "mean": (fake.mean() - mean) / std, "std": fake.std() / std - 1,
        "kurt": kurtosis[0] - kurtosis[1],
        "W1": np.abs(fake - np.quantile(real, middle)).mean() / std,
        "KS": np.abs(share - middle).max() + 0.5 / len(fake),
        "TV": 0.5 * (np.abs(bins[0] - bins[1]).sum() + 2 - bins[0].sum() - bins[1].sum()),
    }


def learn(part, label, seed):
    """Run main() with a row's changes; return its figures, its verdict and its seconds."""
    changes = dict(dict(PARTS[part])[label])
    vars(gan_1d).update(ORIGINAL)
    adam = torch.optim.Adam
    torch.optim.Adam = changes.pop("Adam", adam)
    vars(gan_1d).update(changes, SEED=seed)
    if "R" in changes:
        gan_1d.R = lambda n: changes["R"](n).to(gan_1d.DEVICE)
    out, start = io.StringIO(), time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(out):
            gan_1d.PLOT_FILE = os.path.join(folder, "gan_1d.png")
            G = gan_1d.main()
        seconds = time.perf_counter() - start
        torch.manual_seed(1000 + seed)
        with torch.no_grad():
            fake, real = G(gan_1d.I(100_000)), gan_1d.R(1_000_000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            row = figures(*(x.double().cpu().numpy().ravel() for x in (fake, real)))
    except SystemExit:  # the loss was no longer finite
        row, seconds = dict.fromkeys(FIGURES, math.inf), time.perf_counter() - start
    finally:
        torch.optim.Adam = adam
        vars(gan_1d).update(ORIGINAL)
    says = "G has learned R" in out.getvalue()
    return {**row, "says": says, "wrong": says != (row["KS"] <= 0.05), "s": seconds}


def table(part, rows, seeds, pool):
    print(f"\n{part:46}" + "".join(f"{name:^15}" for name in FIGURES) + "  says  wrong      s")
    jobs = {label: [pool.submit(learn, part, label, seed) for seed in seeds] for label, _ in rows}
    wrong = total = 0
    for label, runs in jobs.items():
        runs = [run.result() for run in runs]
        cells = ""
        for name in FIGURES:
            values = [math.inf if math.isnan(run[name]) else abs(run[name]) for run in runs]
            cells += f" {statistics.median(values):6.3f} /{max(values):6.3f}"
        wrong, total = wrong + sum(run["wrong"] for run in runs), total + len(runs)
        print(f"{label:46}{cells}  {sum(run['says'] for run in runs):2}/{len(runs):<2}"
              f"  {sum(run['wrong'] for run in runs):5}"
              f"  {statistics.median(run['s'] for run in runs):5.1f}", flush=True)
    print(f"verdicts that disagree with KS <= 0.05: {wrong} of {total}", flush=True)


# ---- cost -------------------------------------------------------------------------------------

def plain_step():
    """The same step written plainly: BCE on probabilities, Adam as it comes."""
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


def milliseconds(steps, plain=False, threads=1):
    """Cost of one step, from `steps` of them after a warm-up, training as the script does."""
    torch.set_num_threads(threads)
    gan_1d.LOG_EVERY = 10**9
    if plain:
        step = plain_step()

        def play(count):
            for _ in range(count):
                step()
    else:
        def play(count):
            gan_1d.STEPS = count
            with contextlib.redirect_stdout(io.StringIO()):
                gan_1d.train(gan_1d.R, gan_1d.I, gan_1d.Generator(), gan_1d.Discriminator())
    play(min(10, steps))
    start = time.perf_counter()
    play(steps)
    if gan_1d.DEVICE != "cpu":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps * 1e3


def cost(full):
    command = [sys.executable, os.path.join(ROOT, "gan_1d.py")]
    seconds = []
    for _ in range(5 if full else 1):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            out = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
            seconds.append(time.perf_counter() - start)
    training = re.search(r"took ([\d.]+)", out.stdout)[1]
    print(f"\npython gan_1d.py: {statistics.median(seconds):.1f} s from start to picture, of which "
          f"training {training} s")
    try:
        import resource
        # Linux counts from the parent's memory on, so this comes first, while that is small
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        print(f"peak memory: {peak / (1024 if sys.platform != 'darwin' else 1024**2):.0f} MiB")
    except ImportError:  # Windows
        pass

    steps, rounds = (500, 7) if full else (200, 3)
    rows = {"the script": {}, "written plainly, 1 thread": {"plain": True},
            f"written plainly, {torch.get_num_threads()} threads":
            {"plain": True, "threads": torch.get_num_threads()}}
    times = {label: [] for label in rows}
    for _ in range(rounds):  # in turns, so that a busy moment hits all
        for label, how in rows.items():
            times[label].append(milliseconds(steps, **how))
    print(f"\na step on {gan_1d.DEVICE}, median")
    for label, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(times["the script"], values))
        print(f"{label:30}{statistics.median(values):8.2f} ms   the script takes {ratio:.2f} of it")

    print("\nms a step, 1 thread" + "".join(f"{f'hidden {h}':>12}" for h in (32, 128, 512)))
    for batch in (64, 512, 4096):
        cells = ""
        for hidden in (32, 128, 512):
            vars(gan_1d).update(BATCH_SIZE=batch, G_HIDDEN=hidden, D_HIDDEN=hidden)
            count = max(2, min(steps, int(4e9 / (batch * (hidden + 300) ** 2))))
            cells += f"{milliseconds(count):12.2f}"
        print(f"BATCH_SIZE = {batch:<6}" + cells, flush=True)
    vars(gan_1d).update(ORIGINAL)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="every row, more seeds")
    parser.add_argument("--only", nargs="+", choices=[*PARTS, "cost"], help="only these parts")
    parser.add_argument("--seeds", help="a range such as 0-4 for every row")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (1)")
    args = parser.parse_args()
    short = {"default": 1, "targets": 1, "replaced": 1}  # how many rows of a part a short run takes
    print(f"torch {torch.__version__}, {gan_1d.DEVICE}, {os.cpu_count()} cores")
    if not args.only or "cost" in args.only:
        cost(args.full)
    # spawn: a forked process cannot use the CUDA, or the threads, that this one has started
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(args.jobs, spawn) as pool:
        for part in args.only or ([*PARTS] if args.full else short):
            if part == "cost":
                continue
            rows = PARTS[part] if args.full or args.only else PARTS[part][:short[part]]
            last = (19 if part == "default" else 2) if args.full else 0
            first, last = map(int, (args.seeds or f"0-{last}").split("-"))
            table(part, rows, range(first, last + 1), pool)


if __name__ == "__main__":
    main()
