"""gan_1d.py: a complete generative adversarial network (GAN) on the simplest data there is.

Two small neural nets play a game. G, the generator, turns random noise into numbers. D, the
discriminator, is shown a number and says how likely it is to be real. D learns to tell G's fakes
from real numbers, G learns to fool D. G never sees a real number. All it gets is D's gradient: in
which direction to move each fake to make D find it more real. In the end the fakes have the same
bell-shaped histogram.

    R        the real data: a bell curve, which G must learn to imitate
    I        the input of G: uniform noise, flat, so that G must bend it into a bell
    G        the generator: noise in, fakes out
    D        the discriminator: samples in; real or fake? out
    train()  the game: D learns, then G learns, then D again

Usage:  python gan_1d.py

It prints how the game goes and draws gan_1d.png. Then edit a constant below and run it again.
The GAN paper: Goodfellow et al. 2014, arXiv 1406.2661. Other sources stand where they are used.
"""
import contextlib
import gc
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
REAL_MEAN = 4.0  # centre of the bell; the more widths from 0, where G starts, the harder
REAL_STD = 1.25  # its width; one near 100 needs a higher G_LR or more STEPS

# I, the noise
NOISE_DIM = 1  # random numbers per fake; more: closer to R, but 1 makes G a curve one can draw
NOISE_RANGE = (-1.0, 1.0)  # each is uniform between these

# G and D, the nets
G_HIDDEN = 32  # units in each hidden layer of G; more: slower, and no better
D_HIDDEN = 32  # the same for D; far fewer: D does not see the shape
G_ACTIVATION = nn.Tanh()  # any without weights; nn.ELU() is less exact
D_ACTIVATION = nn.LeakyReLU(0.2)  # any without weights; nn.Tanh() gets two humps wrong

# The game
BATCH_SIZE = 256  # samples per update; more: steadier, but slower
STEPS = 2500  # rounds of the game: D's turn, G's turn; more: slower, closer to R, also to a far R
D_STEPS = 2  # updates of D per turn; 1: less exact, but faster; more: slower, hardly better
G_LR = 1e-2  # learning rate of G at the start; higher: G gets further, but less steadily
D_LR = 1.5e-2  # learning rate of D at the start; much lower, and D cannot keep up with G
BETAS = (0.0, 0.8)  # how long Adam remembers gradients and their squares; higher: longer

# The run
SEED = 0  # same seed, constants, CPU and PyTorch: same numbers; a GPU may round differently
LOG_EVERY = 100  # steps from one printed line, and one point in the picture, to the next
PLOT_FILE = "gan_1d.png"  # its suffix chooses the format: .png, .pdf, .svg, ...
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # so small a net may be faster on "cpu"
THREADS = 1  # of the CPU; with 2, nets this small are no faster


# ---- R and I: real data and noise --------------------------------------------------------------

def R(n):
    """n fresh samples of the real data, shape (n, 1)."""
    return torch.normal(REAL_MEAN, REAL_STD, (n, 1), device=DEVICE)


def I(n):
    """n fresh noise vectors, shape (n, NOISE_DIM).

    Uniform, not normal: a normal is a bell already, and G would only have to shift and scale it.
    """
    return torch.empty(n, NOISE_DIM, device=DEVICE).uniform_(*NOISE_RANGE)


# ---- G and D: the two nets ---------------------------------------------------------------------

def mlp(inputs, hidden, outputs, activation, norm):
    """Three linear maps, so two hidden layers: shape (n, inputs) to (n, outputs)."""
    return nn.Sequential(nn.Linear(inputs, hidden), activation, nn.Linear(hidden, hidden), norm,
                         activation, nn.Linear(hidden, outputs)).to(DEVICE)


def Generator():
    """G, noise in, fakes out: shape (n, NOISE_DIM) to that of R(n).

    On the way to a far R all gradients pull one way, towards the flat ends of the activations. A
    LayerNorm (Ba et al. 2016, arXiv 1607.06450) before the second one holds the units back: it
    rescales each fake's to mean 0 and variance 1, then gives each a learned gain and bias.
    """
    G = mlp(NOISE_DIM, G_HIDDEN, R(1).shape[1], G_ACTIVATION, nn.LayerNorm(G_HIDDEN))
    nn.init.uniform_(G[2].bias, -4, 4)  # of the second linear map; wide, or G's curve may turn back
    return G


class Discriminator(nn.Module):
    """D, samples in, verdicts out: shape of R(n) to (n, 1). It judges each sample on its own.

    A verdict is a logit, above 0 for "real", below 0 for "fake". D(x), the probability that x is
    real, is sigmoid(logit). The losses below take the logit: no log of a D(x) rounded to 0.
    """

    def __init__(self):
        super().__init__()
        # D may look at real samples: scaled by their mean and std, any R has mean 0 and std 1
        self.std, self.mean = torch.std_mean(R(10_000), 0)
        self.net = mlp(len(self.mean), D_HIDDEN, 1, D_ACTIVATION, nn.Identity())

    def forward(self, x):
        return self.net((x - self.mean) / self.std)


# ---- The game ----------------------------------------------------------------------------------

def d_loss(real_logit, fake_logit):
    """-mean[log D(x)] - mean[log(1 - D(G(z)))]: D wants 1 for real samples, 0 for fakes.

    The binary cross-entropies with label 1 for real, 0 for fake, added up. As D = sigmoid(logit),
    log D = logsigmoid(logit) and log(1 - D) = logsigmoid(-logit).
    """
    return -F.logsigmoid(real_logit).mean() - F.logsigmoid(-fake_logit).mean()


def g_loss(fake_logit):
    """-mean[log D(G(z))]: G wants D to say 1 for its fakes, so here their label is 1.

    Minimising log(1 - D(G(z))) has the same aim, but it saturates: where D rejects a fake with
    confidence it is flat in D's logit. A G far behind may get no gradient (GAN paper, section 3).
    """
    return -F.logsigmoid(fake_logit).mean()


def train(R, I, G, D):
    """Play the game; leave in G the weights to sample from; return the history.

    R and I give n real samples and n noise vectors, G turns the latter into fakes shaped like the
    former, D gives a logit for each. The history is a list with a dict for each look at the game,
    see look(). Ctrl-C ends the game early.

    The players chase each other round the goal. Three things calm the chase; README.md has what
    each is worth. D learns faster than G, as in Heusel et al. 2017, arXiv 1706.08500. Both rates
    fall to 0, G's the more steeply, so that D keeps up with G's last, fine steps. Adam has no
    momentum, beta1 = 0; Radford et al. 2015, arXiv 1511.06434, saw 0.9 oscillate, and took 0.5.
    """
    # fused: all weights in one call, the fastest way; float: Adam takes no whole 0
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), lr, [*map(float, BETAS)], fused=True)
                    for net, lr in ((G, G_LR), (D, D_LR)))
    real, z = R(5000), I(5000)  # the same at every look: what changes is G and D, not the samples
    history = [look(0, G, D, real, z)]
    with contextlib.suppress(KeyboardInterrupt):
        for step in range(1, STEPS + 1):
            # D's turn: maximise log D(x) + log(1 - D(G(z))). G does not change meanwhile, so one
            # batch of fakes serves both turns. detach() cuts them off from G, so that backward()
            # stops there: it would free the graph, the record of how G made them, which G's turn
            # needs.
            fake = G(I(BATCH_SIZE))
            for _ in range(D_STEPS):
                both = torch.cat([R(BATCH_SIZE), fake.detach()])  # one pass, cheaper than two
                opt_d.zero_grad()  # clears the gradients of the weights that opt_d updates, D's
                d_loss(*D(both).chunk(2)).backward()  # chunk(2): the real half, the fake half
                opt_d.step()

            # G's turn: maximise log D(G(z)), on the same fakes. D is asked again: it has changed,
            # and its first answer was on detached fakes, so no gradient could reach G. Now it runs
            # back through D to G; inputs= leaves none in D, where nobody would use it.
            opt_g.zero_grad()
            g_loss(D(fake)).backward(inputs=list(G.parameters()))
            opt_g.step()

            opt_g.param_groups[0]["lr"] = G_LR * (1 - step / STEPS) ** 3
            opt_d.param_groups[0]["lr"] = D_LR * (1 - step / STEPS)
            if step % LOG_EVERY == 0 or step == STEPS:
                history.append(look(step, G, D, real, z))
    G.eval()
    return history


# ---- Looking at the game -----------------------------------------------------------------------

def look(step, G, D, real, z):
    """Print a line on how the game stands; return it as a dict, an entry of the history.

    If the fakes are perfect, D can only say 1/2: D loss 2 ln 2 = 1.386, G loss ln 2 = 0.693. But a
    D that has learned nothing says much the same, as at step 0: look at the fakes, too.

    Keys: step; d_loss and g_loss; real and fake, samples of shape (n, ...); d_real and d_fake, D(x)
    of each sample, (n,), all on the CPU. A game that has blown up ends the program.
    """
    G.eval()  # a G with batch norm is not to learn from a look
    with torch.no_grad():
        fake = G(z)
        real_logit, fake_logit = D(real), D(fake)
    G.train()
    row = {"step": step, "real": real.cpu(), "d_real": real_logit.sigmoid().flatten().cpu(),
           "fake": fake.cpu(), "d_fake": fake_logit.sigmoid().flatten().cpu(),
           "d_loss": d_loss(real_logit, fake_logit).item(), "g_loss": g_loss(fake_logit).item()}
    if step == 0:
        print("  step  D loss  G loss  D(real)  D(fake)  mean: fake     real  std: fake     real")
    print(f"{step:6}{row['d_loss']:8.3f}{row['g_loss']:8.3f}"
          f"{row['d_real'].mean():9.3f}{row['d_fake'].mean():9.3f}"
          f"{fake.mean():12.3f}{real.mean():9.3f}{fake.std():11.3f}{real.std():9.3f}", flush=True)
    if not np.isfinite(row["d_loss"] + row["g_loss"] + fake.std().item()):
        sys.exit(f"The loss is no longer finite at step {step}: try a lower D_LR or G_LR.")
    return row


def report(real, fake):
    """Print how alike two sorted samples of equal size are, arrays (n,), and a verdict."""
    print(f"\n{len(real):,} samples of each       real      fake")
    u, v = ((x - x.mean()) / (x.std() or 1) for x in (real, fake))
    print(f"mean                {real.mean():12.3f}{fake.mean():10.3f}\n"
          f"standard deviation  {real.std():12.3f}{fake.std():10.3f}\n"
          f"skewness            {(u**3).mean():12.3f}{(v**3).mean():10.3f}\n"
          f"excess kurtosis     {(u**4).mean() - 3:12.3f}{(v**4).mean() - 3:10.3f}")
    # The least work that turns the fakes into the real samples: the i-th smallest becomes the i-th
    # smallest. KS: for every x, which share of each sample is at most x? The largest difference.
    x = np.concatenate([real, fake])
    counts = np.searchsorted(real, x, "right") - np.searchsorted(fake, x, "right")
    ks = np.abs(counts).max() / len(real)
    print(f"earth mover's distance {np.abs(real - fake).mean() / real.std():19.3f}"
          "  standard deviations of the real data\n"
          f"Kolmogorov-Smirnov, KS {ks:19.3f}  the largest gap between the shares\n")
    if ks <= 0.05:
        print("G has learned R: KS is at most 0.05.")
    else:  # README.md has the runs that this advice comes from
        hint = ("G_HIDDEN = 32" if G_HIDDEN < 8 else "D_HIDDEN = 32" if D_HIDDEN < 8 else
                f"G_LR = {D_LR / 2:.2g}" if D_LR > 20 * G_LR else
                f"D_LR = {2 * G_LR:.2g}" if D_LR < G_LR else
                "BETAS = (0.0, 0.8)" if BETAS[0] else f"STEPS = {2 * STEPS}")
        print(f"G has not learned R: KS is above 0.05. Try {hint} first.")


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
    ax.plot([], [], "k:", label="D(x)")  # drawn on the right, but named in this legend
    ax.set(title="Histograms, and what D says", xlabel="x", ylabel="density")
    ax.legend(loc="upper left")
    x, order = torch.cat([last["real"], last["fake"]]).flatten().sort()
    right.plot(x, torch.cat([last["d_real"], last["d_fake"]])[order], "k:")
    right.set(ylabel="D(x), probability of real", xlim=(bins[0], bins[-1]), ylim=(0, 1))

    ax, p = axes[1, 1], (np.arange(1000) + 0.5) / 1000
    ax.axline((real.mean(), real.mean()), slope=1, color="C0", linestyle="--", label="same shape")
    ax.plot(np.quantile(real, p), np.quantile(fake, p), "C1.", label="fake")
    ax.set(title="Quantiles", xlabel="of the real data", ylabel="of the fakes")
    ax.legend()

    figure.savefig(PLOT_FILE, dpi=120)
    print(f"Picture: {os.path.abspath(PLOT_FILE)}", flush=True)
    if plt.get_backend().lower() != "agg":  # agg: Matplotlib found no screen
        plt.show()
    plt.close(figure)


# ---- Running it --------------------------------------------------------------------------------

def check_constants():
    """Exit with code 2 and one line that names it if a constant cannot work."""
    def number(v, low=-1e6, high=1e6, kind=(int, float)):
        return isinstance(v, kind) and not isinstance(v, bool) and low <= v <= high

    def picture(v):
        kind, folder = os.path.splitext(v)[1][1:].lower(), os.path.dirname(os.path.abspath(v))
        return (kind in FigureCanvasBase.get_supported_filetypes()
                and os.path.isdir(folder) and os.access(folder, os.W_OK) and not os.path.isdir(v))

    rules = (
        ("REAL_MEAN", number, "a number from -1e6 to 1e6"),
        ("REAL_STD", lambda v: number(v, 1e-6), "a number from 1e-6 to 1e6"),
        ("NOISE_DIM G_HIDDEN D_HIDDEN D_STEPS THREADS", lambda v: number(v, 1, 10**4, int),
         "a whole number from 1 to 10,000"),
        ("BATCH_SIZE STEPS LOG_EVERY", lambda v: number(v, 1, 10**6, int),
         "a whole number from 1 to 1,000,000"),
        ("SEED", lambda v: number(v, 0, 2**63 - 1, int), "a whole number from 0 to 2**63 - 1"),
        ("G_LR D_LR", lambda v: number(v, 0, 1e300) and v > 0, "a finite number above 0"),
        ("BETAS", lambda v: len(v) == 2 and all(number(b, 0) and b < 1 for b in v),
         "two numbers from 0 to below 1"),
        ("NOISE_RANGE", lambda v: len(v) == 2 and all(map(number, v)) and v[0] < v[1],
         "two numbers from -1e6 to 1e6, the lower one first"),
        ("G_ACTIVATION D_ACTIVATION", lambda v: v(torch.zeros(2, 3)).shape == (2, 3)
         and not [*v.parameters()], "an activation without weights, such as nn.Tanh()"),
        ("DEVICE", lambda v: v and torch.zeros(1, device=v).item() == 0, "a device like 'cpu'"),
        ("PLOT_FILE", picture, "a picture's path, such as 'gan_1d.png', in an existing folder"))
    for name, fits, wanted in ((name, *rule) for names, *rule in rules for name in names.split()):
        with contextlib.suppress(Exception):  # a test that fails, in whatever way, is a no
            if fits(globals()[name]):
                continue
        print(name, "=", *repr(globals()[name]).split(), f"- must be {wanted}", file=sys.stderr)
        sys.exit(2)


def main():
    """Train G, show what it learned and return it. A bad constant leaves by SystemExit."""
    check_constants()
    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)
    print(f"Training on {DEVICE}, {STEPS} steps; Ctrl-C stops early and shows the result.\n")
    start = time.perf_counter()
    G, D = Generator(), Discriminator()
    history = train(R, I, G, D)
    print(f"\nTraining took {time.perf_counter() - start:.1f} seconds.")
    real, fake = (np.sort(x.detach().cpu().double().ravel()) for x in (R(10**5), G(I(10**5))))
    report(real, fake)
    plot(history, real, fake)
    if history[-1]["step"] < STEPS:
        print("Stopped early by Ctrl-C: this is what G had learned by then.")
        raise KeyboardInterrupt  # now stop whatever called us, too
    return G


if __name__ == "__main__":
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__)
    elif sys.argv[1:]:
        print("There are no arguments: edit the constants in gan_1d.py.", file=sys.stderr)
        sys.exit(2)
    else:
        gc.freeze()  # or the garbage collector goes through all that is imported, again and again;
        gc.disable()  # a step leaves nothing to collect. So a run takes 0.9 of the time
        try:
            main()
        except KeyboardInterrupt:
            sys.exit(130)
