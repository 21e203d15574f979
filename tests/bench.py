"""Measure what gan_1d.py learns, what some of its choices are worth, and what a run costs.

    python tests/bench.py               all rows; writes tests/RESULTS.md; takes about an hour
    python tests/bench.py collapse far  only the rows with one of these words; prints them

W1 is the script's own distance between fakes and real samples, in standard deviations of R. TV is
half of the summed difference between two histograms of 64 bins, from 4 standard deviations below
the mean of R to 4 above: the share of the fakes that would have to change bins. std is the standard
deviation of the fakes, divided by that of R. Each is measured on 100,000 fakes. "lost" counts the
seeds whose W1 is above 0.2, more than that of a flat block, which has 0.15. Of data with humps, such
a run has usually lost a hump.
"""

import contextlib
import importlib
import io
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib
import torch

matplotlib.use("Agg")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import gan_1d  # noqa: E402

# ----- other data -----


def humps(distance):
    """Two humps, 0.5 wide, at this distance from 0."""
    return lambda n: distance * torch.randn(n, 1).sign() + 0.5 * torch.randn(n, 1)


def a_hump_with_a_tenth(n):
    """Two humps, 0.5 wide. The one at -3 holds a tenth of the samples, and that at 3 the rest."""
    return torch.where(torch.rand(n, 1) < 0.1, -3.0, 3.0) + 0.5 * torch.randn(n, 1)


def three_humps(n):
    """Three humps, 0.3 wide, at -4, 0 and 4."""
    return 4 * torch.randint(-1, 2, (n, 1)) + 0.3 * torch.randn(n, 1)


def uniform(n):
    return 6 * torch.rand(n, 1) - 1


def exponential(n):
    return torch.empty(n, 1).exponential_()


def laplace(n):
    return torch.distributions.Laplace(0.0, 1.0).sample((n, 1))


def whole_numbers(n):
    return torch.poisson(torch.full((n, 1), 3.0))


def spread_whole_numbers(n):
    return whole_numbers(n) + torch.rand(n, 1) - 0.5


def narrow_humps(n):
    """25 humps, 0.1 wide, at whole numbers from -12 to 12."""
    return torch.randint(-12, 13, (n, 1)) + 0.1 * torch.randn(n, 1)


def outliers(n):
    """A bell curve with one outlier among 10,000 samples."""
    return torch.where(torch.rand(n, 1) < 1e-4, 10_000.0, 4 + 1.25 * torch.randn(n, 1))


def normal(mean, std):
    return {"REAL_MEAN": float(mean), "REAL_STD": float(std)}


# ----- other noise -----


def narrower_noise(n):
    return 2 * torch.rand(n, gan_1d.NOISE_DIM) - 1


# ----- other nets -----


class GeneratorWithoutExponent(gan_1d.Generator):
    def forward(self, z):
        return self.net(z)


class GeneratorThatStartsWide(gan_1d.Generator):
    def __init__(self):
        super().__init__()
        torch.nn.init.ones_(self.exponent)


class DiscriminatorOfRawSamples(gan_1d.Discriminator):
    def forward(self, x):
        return self.net(x)


class DiscriminatorWithSigmoid(gan_1d.Discriminator):
    def forward(self, x):
        return super().forward(x).sigmoid()


class DiscriminatorWithTanh(gan_1d.Discriminator):
    def __init__(self, real):
        super().__init__(real)
        self.net[1] = self.net[3] = torch.nn.Tanh()


# ----- other games -----


def other_train(power_d=0.0, power_g=1.5, saturating=False):
    """The loop of the script, with rates that fall by other powers, or with the loss log(1 - D)."""

    def train(R, I, G, D):
        opt_d = torch.optim.Adam(D.parameters(), lr=gan_1d.D_LR, betas=gan_1d.BETAS)
        opt_g = torch.optim.Adam(G.parameters(), lr=gan_1d.G_LR, betas=gan_1d.BETAS)
        R(5000)  # draws what the script draws here, so that the same random numbers follow
        I(5000)
        for step in range(gan_1d.STEPS):
            remaining = 1 - step / gan_1d.STEPS
            opt_d.param_groups[0]["lr"] = gan_1d.D_LR * remaining**power_d
            opt_g.param_groups[0]["lr"] = gan_1d.G_LR * remaining**power_g
            for _ in range(gan_1d.D_STEPS):
                real = R(gan_1d.BATCH_SIZE)
                fake = G(I(gan_1d.BATCH_SIZE)).detach()
                loss_d = gan_1d.bce(D(real), 1) + gan_1d.bce(D(fake), 0)
                opt_d.zero_grad()
                loss_d.backward()
                opt_d.step()
            logits = D(G(I(gan_1d.BATCH_SIZE)))
            loss_g = -gan_1d.bce(logits, 0) if saturating else gan_1d.bce(logits, 1)
            opt_g.zero_grad()
            loss_g.backward()
            opt_g.step()
        return []

    return train


# ----- the rows: a name, and what is changed on the module -----

COLLAPSE = {"BETAS": (0.9, 0.999), "D_STEPS": 1}

PARTS = {
    "The default": {"the default": {}},
    "Other data": {
        "mean 0, std 1": normal(0, 1),
        "mean -5, std 1": normal(-5, 1),
        "mean 0, std 10": normal(0, 10),
        "mean 4, std 100": normal(4, 100),
        "mean 50, std 10": normal(50, 10),
        "mean 20, std 1.25": normal(20, 1.25),
        "mean 4, std 0.25": normal(4, 0.25),
        "mean 2000, std 1": normal(2000, 1),
        "uniform": {"R": uniform},
        "Laplace": {"R": laplace},
        "whole numbers (Poisson)": {"R": whole_numbers},
        "whole numbers, spread": {"R": spread_whole_numbers},
        "25 narrow humps": {"R": narrow_humps},
        "an outlier of 10,000 among 10,000 samples": {"R": outliers},
    },
    "Choices of the script": {
        "the loop as bench.py writes it": {"train": other_train()},
        "NOISE_DIM = 1": {"NOISE_DIM": 1},
        "noise between -1 and 1": {"I": narrower_noise},
        "noise between -1 and 1, narrow humps at -10 and 10": {
            "I": narrower_noise, "R": humps(10.0)},
        "noise between -1 and 1, mean 170, std 10": {"I": narrower_noise, **normal(170, 10)},
        "constant learning rates": {"train": other_train(power_g=0)},
        "G's rate falls evenly": {"train": other_train(power_g=1)},
        "D's rate falls as G's": {"train": other_train(power_d=1.5)},
        "both rates fall evenly": {"train": other_train(power_d=1, power_g=1)},
        "without the exponent": {"Generator": GeneratorWithoutExponent},
        "without the exponent, mean 100, std 15": {
            "Generator": GeneratorWithoutExponent, **normal(100, 15)},
        "D sees raw samples": {"Discriminator": DiscriminatorOfRawSamples},
        "D sees raw samples, mean 20": {
            "Discriminator": DiscriminatorOfRawSamples, "REAL_MEAN": 20.0},
        "D with tanh": {"Discriminator": DiscriminatorWithTanh},
        "D with tanh, mean 20": {"Discriminator": DiscriminatorWithTanh, "REAL_MEAN": 20.0},
        "BETAS = (0.5, 0.85)": {"BETAS": (0.5, 0.85)},
        "BETAS = (0.9, 0.85)": {"BETAS": (0.9, 0.85)},
        "BETAS = (0.0, 0.999)": {"BETAS": (0.0, 0.999)},
        "BETAS = (0.5, 0.999)": {"BETAS": (0.5, 0.999)},
        "BETAS = (0.9, 0.999)": {"BETAS": (0.9, 0.999)},
        "BATCH_SIZE = 128": {"BATCH_SIZE": 128},
        "BATCH_SIZE = 2048": {"BATCH_SIZE": 2048},
        "D_STEPS = 2": {"D_STEPS": 2},
        "D_LR = 8e-3": {"D_LR": 8e-3},
        "D_LR = 8e-3, narrow humps at -10 and 10": {"D_LR": 8e-3, "R": humps(10.0)},
    },
    "Predict, then run": {
        "1. mean 100, std 15": normal(100, 15),
        "2. mean 170, std 10": normal(170, 10),
        "3. two humps at -2 and 2": {"R": humps(2.0)},
        "4. exponential": {"R": exponential},
        "5. NOISE_DIM = 8": {"NOISE_DIM": 8},
        "6. G_HIDDEN = 2": {"G_HIDDEN": 2},
        "7. BATCH_SIZE = 32": {"BATCH_SIZE": 32},
        "8. STEPS = 300": {"STEPS": 300},
        "9. D_STEPS = 1": {"D_STEPS": 1},
    },
    "What goes wrong": {
        "collapse: BETAS = (0.9, 0.999), D_STEPS = 1": COLLAPSE,
        "the same without momentum: BETAS = (0.0, 0.999)": {**COLLAPSE, "BETAS": (0.0, 0.999)},
        "the same with momentum only: BETAS = (0.9, 0.85)": {**COLLAPSE, "BETAS": (0.9, 0.85)},
        "a hump with a tenth": {"R": a_hump_with_a_tenth},
        "a hump with a tenth, G starts wide": {
            "R": a_hump_with_a_tenth, "Generator": GeneratorThatStartsWide},
        "three humps": {"R": three_humps},
        "three humps, G starts wide": {"R": three_humps, "Generator": GeneratorThatStartsWide},
        "far humps, at -10 and 10": {"R": humps(10.0)},
        "far humps, NOISE_DIM = 1": {"R": humps(10.0), "NOISE_DIM": 1},
        "D too simple: D_HIDDEN = 2": {"D_HIDDEN": 2},
        "D_HIDDEN = 8": {"D_HIDDEN": 8},
        "a sigmoid at the end of D": {"Discriminator": DiscriminatorWithSigmoid},
        "G too fast: G_LR = 0.1": {"G_LR": 0.1},
        "G_LR = 0.03": {"G_LR": 0.03},
        "saturating loss": {"train": other_train(saturating=True)},
        "saturating loss, mean 30": {"train": other_train(saturating=True), "REAL_MEAN": 30.0},
        "the script's own loss, mean 30": {"REAL_MEAN": 30.0},
    },
}


def number_of_seeds(part, name):
    """How many seeds a row has."""
    if part in ("The default", "What goes wrong") or "narrow humps at -10" in name:
        return 20
    return 5


def total_variation(fake, real):
    """Half of the summed difference between the two histograms; the samples beyond are one bin."""
    low = (real.mean() - 4 * real.std()).item()
    high = (real.mean() + 4 * real.std()).item()
    fake_shares = torch.histc(fake, 64, low, high) / len(fake)
    real_shares = torch.histc(real, 64, low, high) / len(real)
    beyond = real_shares.sum() - fake_shares.sum()  # the difference of the shares beyond
    return ((fake_shares - real_shares).abs().sum() + beyond.abs()).item() / 2


def learn(part, name, seed):
    """Run the script with the changes of a row; return W1, TV and std of what it has learned."""
    importlib.reload(gan_1d)
    changes = {"DEVICE": "cpu", "SEED": seed, "plot": lambda *_: None, **PARTS[part][name]}
    for attribute, value in changes.items():
        setattr(gan_1d, attribute, value)
    with contextlib.redirect_stdout(io.StringIO()):
        G, _ = gan_1d.main()
    fake = G(gan_1d.I(100_000)).detach()
    real = gan_1d.R(100_000)
    w1 = gan_1d.describe(fake, real)["distance"]
    many_real = gan_1d.R(1_000_000)
    return w1, total_variation(fake, many_real), (fake.std() / many_real.std()).item()


def table(part, names, pool):
    """Yield the lines of the table of one part."""
    yield "| | seeds | W1, median | W1, worst | lost | TV, median | std, lowest | std, highest |"
    yield "|---|---|---|---|---|---|---|---|"
    for name in names:
        seeds = number_of_seeds(part, name)
        runs = pool.starmap(learn, [(part, name, seed) for seed in range(seeds)], chunksize=1)
        w1, tv, std = zip(*runs)
        lost = sum(distance > 0.2 for distance in w1)
        cells = statistics.median(w1), max(w1), lost, statistics.median(tv), min(std), max(std)
        yield f"| {name} | {seeds} |" + "".join(f" {cell:.2g} |" for cell in cells)


def seconds_of_a_run():
    """The time of the real command on the CPU, from its start to its end, picture included."""
    command = [sys.executable, ROOT / "gan_1d.py"]
    env = {**os.environ, "MPLBACKEND": "Agg", "CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, env=env, capture_output=True, check=True)
        return time.perf_counter() - start


def milliseconds_of_a_step(threads):
    """The time of one step of train with this many threads."""
    importlib.reload(gan_1d)
    gan_1d.DEVICE = "cpu"
    gan_1d.STEPS = 300
    torch.set_num_threads(threads)
    G, D = gan_1d.Generator(), gan_1d.Discriminator(gan_1d.R(1000))
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        gan_1d.train(gan_1d.R, gan_1d.I, G, D)
    return (time.perf_counter() - start) / gan_1d.STEPS * 1000


def count_forever():
    """Keep a processor core busy."""
    while True:
        pass


@contextlib.contextmanager
def busy_cores():
    """Keep every core busy meanwhile."""
    spawn = multiprocessing.get_context("spawn")
    others = [spawn.Process(target=count_forever, daemon=True) for _ in range(os.cpu_count())]
    for other in others:
        other.start()
    time.sleep(3)  # until they count
    try:
        yield
    finally:
        for other in others:
            other.terminate()


def cost():
    """Yield the lines of the part on time; each is measured in turns, so that noise hits all."""
    times = {
        "a whole run, in s": [],
        "a step, in ms": [],
        "a step with two threads, in ms": [],
        "a step while all cores are busy, in ms": [],
        "a step with two threads while all cores are busy, in ms": [],
    }
    milliseconds_of_a_step(1)  # The first optimizer takes a second to import.
    for _ in range(5):
        times["a whole run, in s"].append(seconds_of_a_run())
        times["a step, in ms"].append(milliseconds_of_a_step(1))
        times["a step with two threads, in ms"].append(milliseconds_of_a_step(2))
        with busy_cores():
            times["a step while all cores are busy, in ms"].append(milliseconds_of_a_step(1))
            times["a step with two threads while all cores are busy, in ms"].append(
                milliseconds_of_a_step(2)
            )
    yield "| | median of 5 |"
    yield "|---|---|"
    for name, values in times.items():
        yield f"| {name} | {statistics.median(values):.2g} |"


def processor():
    """The name of the processor, where the system tells it."""
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor()


def main():
    words = sys.argv[1:]
    report = [
        "# Measurements\n",
        "Made by `python tests/bench.py`, whose docstring says what the columns are, with PyTorch "
        f"{torch.__version__} on a processor of the kind {processor()}. On another kind of "
        "processor, the second digit of most numbers will be another.",
    ]
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(2) as pool:
        for part, rows in PARTS.items():
            names = [name for name in rows if not words or any(word in name for word in words)]
            if not names:
                continue
            report.append(f"\n## {part}\n")
            print(report[-1])
            for line in table(part, names, pool):
                report.append(line)
                print(line, flush=True)
    if not words:
        report.append("\n## Time\n")
        report.extend(cost())
        (ROOT / "tests" / "RESULTS.md").write_text("\n".join(report) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
