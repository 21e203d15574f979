"""gan_1d.py: a complete generative adversarial network (GAN) on the simplest data there is.

Two small neural nets play a game. G, the generator, turns random noise into numbers. D, the
discriminator, is shown a number and says how likely it is to be real. D learns to tell G's fakes
from real numbers, G learns to fool D. G never sees a real number: all it ever learns of them is
what D thinks of its fakes. In the end the fakes have the same bell-shaped histogram.

    R        the real data: a bell curve, which G must learn to imitate
    I        the input of G: uniform noise, flat, so that G must bend it into a bell
    G        the generator: noise in, fakes out
    D        the discriminator: samples in; real or fake? out
    train()  the game: D learns, then G learns, then D again

Usage:  python gan_1d.py

It prints how the game goes and draws gan_1d.png. Then edit a constant below and run it again.
The GAN paper: Goodfellow et al. 2014, arXiv 1406.2661. Other sources stand where they are used.
"""
import copy
import math
import os
import sys
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.backend_bases import FigureCanvasBase
from torch import nn
from torch.nn import functional as F

# ---- Constants ---------------------------------------------------------------------------------

# R, the real data
REAL_MEAN = 4.0  # centre of the bell; the further from 0, where G starts, the longer G's way
REAL_STD = 1.25  # its width; the narrower, the finer must G's last steps be

# I, the noise
NOISE_DIM = 1  # random numbers per fake
NOISE_RANGE = (-1.0, 1.0)  # each is uniform between these

# G and D, the nets
G_HIDDEN = 32  # units in each hidden layer of G; more: finer shapes, but slower
D_HIDDEN = 32  # the same for D; more: a sharper judge, but slower
G_ACTIVATION = nn.Softsign()  # any activation without weights, such as nn.Tanh() or nn.ELU()
D_ACTIVATION = nn.LeakyReLU(0.2)

# The game
BATCH_SIZE = 512  # samples per update; more: steadier, but slower
STEPS = 5000  # turns of each player; more: closer to R, up to a point
D_STEPS = 1  # updates of D per turn; more: a better judge, but slower
G_LR = 1.5e-3  # learning rate of G at the start
D_LR = 1e-2  # learning rate of D at the start
BETAS = (0.0, 0.8)  # Adam's memory of past gradients, and of their squares
EMA_DECAY = 0.998  # G's average spans about 1 / (1 - EMA_DECAY) steps; 0: no average

# The run
SEED = 0  # the same seed and constants give the same numbers on the same CPU
LOG_EVERY = 250  # steps from one printed line, and one point in the picture, to the next
PLOT_FILE = "gan_1d.png"  # the suffix chooses the format: .png, .pdf, .svg, ...
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
THREADS = 1  # of the CPU; nets this small get slower with more


# ---- R and I: real data and noise --------------------------------------------------------------

def R(n):
    """n fresh samples of the real data, shape (n, 1)."""
    return REAL_MEAN + REAL_STD * torch.randn(n, 1, device=DEVICE)


def I(n):
    """n fresh noise vectors, shape (n, NOISE_DIM).

    Uniform, not normal: a normal is a bell already, and G would only have to shift and scale it.
    """
    return torch.empty(n, NOISE_DIM, device=DEVICE).uniform_(*NOISE_RANGE)


# ---- G and D: the two nets ---------------------------------------------------------------------

class Generator(nn.Module):
    """G, noise in, fakes out: shape (n, NOISE_DIM) to the shape of R(n)."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(NOISE_DIM, G_HIDDEN), G_ACTIVATION,
            # normalised, or a long way to R would leave these units stuck at their ends
            nn.Linear(G_HIDDEN, G_HIDDEN), nn.LayerNorm(G_HIDDEN), G_ACTIVATION,
            nn.Linear(G_HIDDEN, R(1).shape[1]),
        )
        nn.init.constant_(self.net[3].weight, 2.0)  # units that bend more from the start
        self.log_scale = nn.Parameter(torch.zeros(1))  # lets G grow to the size of any R
        self.to(DEVICE)

    def forward(self, z):
        return self.log_scale.exp() * self.net(z)


class Discriminator(nn.Module):
    """D, samples in, verdicts out: shape of R(n) to (n, 1). It judges each sample on its own.

    A verdict is a logit, above 0 for "real", below 0 for "fake". D(x), the probability that x is
    real, is sigmoid(logit). The losses below take the logit: no log of a D(x) rounded to 0.
    """

    def __init__(self):
        super().__init__()
        x = R(10_000)  # D may look at real data; scaled by it, D's input has mean 0 and std 1
        self.register_buffer("mean", x.mean(0))
        self.register_buffer("std", x.std(0))
        self.net = nn.Sequential(
            nn.Linear(x.shape[1], D_HIDDEN), D_ACTIVATION,
            nn.Linear(D_HIDDEN, D_HIDDEN), D_ACTIVATION,
            nn.Linear(D_HIDDEN, 1),
        )
        self.to(DEVICE)

    def forward(self, x):
        return self.net((x - self.mean) / self.std)


# ---- The game ----------------------------------------------------------------------------------

def d_loss(real_logit, fake_logit):
    """-mean[log D(x)] - mean[log(1 - D(G(z)))]: D wants 1 for real samples, 0 for fakes.

    As D = sigmoid(logit), log D = logsigmoid(logit) and log(1 - D) = logsigmoid(-logit).
    """
    return -F.logsigmoid(real_logit).mean() - F.logsigmoid(-fake_logit).mean()


def g_loss(fake_logit):
    """-mean[log D(G(z))]: G wants D to say 1 for its fakes, that is, the label "real".

    Minimising log(1 - D(G(z))) has the same aim, but is flat where D(G(z)) is near 0, and there G
    begins: D easily rejects its first fakes (GAN paper, section 3).
    """
    return -F.logsigmoid(fake_logit).mean()


def train(R, I, G, D):
    """Play the game; leave in G the weights to sample from; return the history.

    R and I give n samples and n noise vectors; G turns the latter into fakes shaped like the
    former; D gives a logit for each. The history is a list of dicts, one for each look at the
    game: see look(). Ctrl-C ends the game early.
    """
    adam = {"betas": tuple(map(float, BETAS)), "fused": True}  # fused: one kernel per update
    opt_g = torch.optim.Adam(G.parameters(), lr=G_LR, **adam)
    opt_d = torch.optim.Adam(D.parameters(), lr=D_LR, **adam)
    fall_g = torch.optim.lr_scheduler.PolynomialLR(opt_g, STEPS)
    fall_d = torch.optim.lr_scheduler.PolynomialLR(opt_d, STEPS, power=0.5)
    average = copy.deepcopy(G).eval()
    weights = [pair for pair in zip(average.state_dict().values(), G.state_dict().values())
               if pair[0].is_floating_point()]
    real, z = R(5000), I(5000)
    history = [look(0, average, D, real, z)]
    step = 0
    try:
        while step < STEPS:
            # D's turn: maximise log D(x) + log(1 - D(G(z)))
            for _ in range(D_STEPS):
                fake = G(I(BATCH_SIZE))
                opt_d.zero_grad()
                d_loss(D(R(BATCH_SIZE)), D(fake.detach())).backward()
                opt_d.step()

            # G's turn: maximise log D(G(z))
            opt_g.zero_grad()
            g_loss(D(fake)).backward(inputs=list(G.parameters()))
            opt_g.step()

            fall_d.step()
            fall_g.step()
            step += 1
            for a, g in weights:
                a.lerp_(g, 1 - min(EMA_DECAY, step / (step + 10)))
            if step % LOG_EVERY == 0 and step < STEPS:
                history.append(look(step, average, D, real, z))
    except KeyboardInterrupt:
        print(f"\nCtrl-C: stopped after step {step}")
    history.append(look(step, average, D, real, z))
    G.load_state_dict(average.state_dict())
    G.eval()
    return history


# ---- Looking at the game -----------------------------------------------------------------------

def look(step, G, D, real, z):
    """Print a line on how the game stands and return it as a dict, an entry of the history.

    Keys: step; d_loss, g_loss: floats; real, fake: the samples, (n, ...); d_real, d_fake: D(x) of
    each, (n,). The samples are on the CPU. Ends the program if the game has blown up.
    """
    with torch.no_grad():
        fake = G(z)
        real_logit, fake_logit = D(real), D(fake)
    row = {
        "step": step, "real": real.cpu(), "fake": fake.cpu(),
        "d_loss": d_loss(real_logit, fake_logit).item(), "g_loss": g_loss(fake_logit).item(),
        "d_real": real_logit.sigmoid().flatten().cpu(),
        "d_fake": fake_logit.sigmoid().flatten().cpu(),
    }
    if step == 0:
        print(f"{'mean':>55}{'std':>17}\n"
              "  step  D loss  G loss  D(real)  D(fake)      fake    real    fake    real")
    print(f"{step:6}  {row['d_loss']:6.3f}  {row['g_loss']:6.3f}"
          f"  {row['d_real'].mean():7.3f}  {row['d_fake'].mean():7.3f}"
          f"  {fake.mean():8.3f}{real.mean():8.3f}{fake.std():8.3f}{real.std():8.3f}", flush=True)
    if not math.isfinite(row["d_loss"] + row["g_loss"] + fake.std().item()):
        sys.exit(f"The loss is no longer finite at step {step}: try a lower D_LR or a lower G_LR.")
    return row


def report(real, fake):
    """Print how alike two sorted samples of equal size are, arrays (n,), and the verdict."""
    def moments(x):
        with np.errstate(invalid="ignore"):  # fakes that are all equal have no shape: nan
            u = (x - x.mean()) / x.std()
        return x.mean(), x.std(), (u**3).mean(), (u**4).mean() - 3

    n = len(real)
    print(f"\n{f'{n:,} samples of each':24}{'real':>10}{'fake':>10}")
    names = "mean", "standard deviation", "skewness", "excess kurtosis"
    for name, r, f in zip(names, moments(real), moments(fake)):
        print(f"{name:24}{r:10.3f}{f:10.3f}")

    # The least work that turns the fakes into the real samples moves the i-th smallest to the
    # i-th smallest; KS compares, for every x, which share of each sample is below x.
    w1 = np.abs(real - fake).mean() / real.std()
    x = np.concatenate([real, fake])
    below = [np.searchsorted(sample, x, "right") / n for sample in (real, fake)]
    ks = np.abs(below[0] - below[1]).max()
    print(f"earth mover's distance  {w1:20.3f}  (in standard deviations of the real data)")
    print(f"Kolmogorov-Smirnov, KS  {ks:20.3f}  (largest gap between the shares below any x)\n")
    if ks <= 0.05:
        print("G has learned R: KS is at most 0.05.")
    else:
        print(f"G has not learned R: KS is above 0.05. Try STEPS = {2 * STEPS} first.")


def plot(history, real, fake):
    """Draw the history and two sorted samples, arrays (n,), into PLOT_FILE; show it on a screen."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    steps = [row["step"] for row in history]
    for ax, name, moment in zip(axes[0], ("mean", "standard deviation"), (np.mean, np.std)):
        ax.plot(steps, [moment(row["fake"].numpy()) for row in history], "C1o-", label="fake")
        ax.axhline(moment(real), color="C0", linestyle="--", label="real")
        ax.set(title=f"The fakes' {name}", xlabel="step", ylabel=name)
        ax.legend()

    ax, right, last = axes[1, 0], axes[1, 0].twinx(), history[-1]
    bins = np.linspace(*np.quantile([real, fake], (0.0002, 0.9998)), 100)
    ax.hist(real, bins, density=True, color="C0", alpha=0.5, label="real")
    ax.hist(fake, bins, density=True, color="C1", histtype="step", linewidth=2, label="fake")
    x, order = torch.cat([last["real"], last["fake"]]).flatten().sort()
    ax.plot([], [], "k:", label="D(x)")
    right.plot(x, torch.cat([last["d_real"], last["d_fake"]])[order], "k:")
    ax.set(title="Histograms, and D's opinion", xlabel="x", ylabel="density",
           xlim=(bins[0], bins[-1]))
    ax.legend(loc="upper left")
    right.set(ylabel="D(x), probability that x is real", ylim=(0, 1))

    ax, p = axes[1, 1], (np.arange(1000) + 0.5) / 1000
    ax.axline((real.mean(), real.mean()), slope=1, color="C0", linestyle="--", label="same shape")
    ax.plot(np.quantile(real, p), np.quantile(fake, p), "C1.", label="fake")
    ax.set(title="Quantiles", xlabel="of the real data", ylabel="of the fakes")
    ax.legend()
    figure.savefig(PLOT_FILE, dpi=120)
    print(f"Picture: {os.path.abspath(PLOT_FILE)}", flush=True)
    if plt.get_backend().lower() != "agg":  # Matplotlib's choice where there is no screen
        plt.show()
    plt.close(figure)


# ---- Running it --------------------------------------------------------------------------------

def check_constants():
    """Exit with code 2 and one line that names it if a constant cannot work."""
    def number(low, high, kind=(int, float), noun="number"):
        return (lambda v: isinstance(v, kind) and not isinstance(v, bool) and low <= v <= high,
                f"a {noun} from {low:,} to {high:,}")

    def whole(low, high):
        return number(low, high, int, "whole number")

    def pair(low, high, text, fits=lambda a, b: True):
        inside = number(low, high)[0]
        return lambda v: len(v) == 2 and inside(v[0]) and inside(v[1]) and fits(*v), text

    def activation(v):
        return v(torch.zeros(2, 3)).shape == (2, 3) and not list(v.parameters())

    def picture(v):
        suffix = os.path.splitext(v)[1][1:].lower()
        return (suffix in FigureCanvasBase.get_supported_filetypes() and not os.path.isdir(v)
                and os.access(os.path.dirname(os.path.abspath(v)), os.W_OK))

    rate = lambda v: number(0, 1e300)[0](v) and v > 0, "a finite number above 0"
    below_1 = 1 - 1e-9
    rules = {
        "REAL_MEAN": number(-1e6, 1e6), "REAL_STD": number(1e-6, 1e6),
        "NOISE_DIM": whole(1, 10_000),
        "NOISE_RANGE": pair(-1e6, 1e6, "two numbers, the lower one first", lambda a, b: a < b),
        "G_HIDDEN": whole(1, 10_000), "D_HIDDEN": whole(1, 10_000),
        "G_ACTIVATION": (activation, "an activation without weights, such as nn.Tanh()"),
        "D_ACTIVATION": (activation, "an activation without weights, such as nn.LeakyReLU(0.2)"),
        "BATCH_SIZE": whole(1, 1_000_000), "STEPS": whole(1, 10**9), "D_STEPS": whole(1, 1000),
        "G_LR": rate, "D_LR": rate, "BETAS": pair(0, below_1, "two numbers, from 0 to below 1"),
        "EMA_DECAY": (number(0, below_1)[0], "a number from 0 to below 1"),
        "SEED": whole(0, 2**63 - 1), "LOG_EVERY": whole(1, 10**9),
        "PLOT_FILE": (picture, "a picture's path, like gan_1d.png, in a folder that exists"),
        "DEVICE": (lambda v: v and torch.zeros(1, device=v).item() == 0,
                   "a device of this machine, such as 'cpu' or 'cuda'"),
        "THREADS": whole(1, 1024),
    }
    for name, (fits, wanted) in rules.items():
        value = globals()[name]
        try:
            fine = fits(value)
        except Exception:  # of whatever kind: the value is of no use
            fine = False
        if not fine:
            print(f"gan_1d.py: {name} = {value!r}, but it must be {wanted}", file=sys.stderr)
            sys.exit(2)


def main():
    """Train G and show what it learned; return it. Exits with code 2 if a constant is bad."""
    check_constants()
    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)
    G, D = Generator(), Discriminator()
    print(f"Training on {DEVICE}, {STEPS:,} steps; Ctrl-C stops early.\n")
    start = time.perf_counter()
    history = train(R, I, G, D)
    seconds = time.perf_counter() - start
    with torch.no_grad():
        samples = R(100_000), G(I(100_000))
    real, fake = (np.sort(x.double().cpu().numpy().ravel()) for x in samples)
    report(real, fake)
    print(f"Training took {seconds:.1f} seconds.")
    plot(history, real, fake)
    if history[-1]["step"] < STEPS:
        raise KeyboardInterrupt  # all is shown; now let it stop whatever called us
    return G


if __name__ == "__main__":
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__)
    elif len(sys.argv) > 1:
        print("gan_1d.py takes no arguments: edit the constants at its top.", file=sys.stderr)
        sys.exit(2)
    else:
        try:
            main()
        except KeyboardInterrupt:
            sys.exit(130)
