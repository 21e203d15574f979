"""A generative adversarial network (GAN), complete, on the simplest data there is.

Run it with "python gan_1d.py". It trains in seconds, prints how the game goes, and saves and
shows a picture of the result, gan_1d.png. There are five ingredients:

    R      the real data: samples of a Gaussian, a bell curve
    I      the input of G: uniform noise, a flat block that G must bend into the bell
    G      the generator: a neural network that turns noise into samples of its own, the fakes
    D      the discriminator: a neural network that says how likely a sample is to be real
    train  the game: D learns to tell real from fake, then G learns to fool D, again and again

G never sees a real sample. All that reaches it is D's gradient: the direction in which to move
each fake so that D finds it more real. Where there are too many fakes, D says "fake", and G moves
them to where there are too few.

The idea is that of Goodfellow et al. (2014), "Generative Adversarial Networks",
https://arxiv.org/abs/1406.2661.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

# Data
REAL_MEAN = 4.0  # if it is more than about 20 REAL_STD from 0, the fakes may end as a single point
REAL_STD = 1.25  # standard deviation
NOISE_DIM = 1  # random numbers that G gets for each fake

# Networks
G_HIDDEN = 32  # units in each of G's two hidden layers
D_HIDDEN = 32  # units in each of D's two hidden layers; with far fewer, D overlooks the shape

# Game
BATCH_SIZE = 512  # samples of each kind in an update; more make the game steadier, but slower
STEPS = 2000  # in each step D has its turn, then G; meanwhile, the learning rates fall to 0
D_STEPS = 3  # updates of D in each of its turns; G has only one, so that D can keep up
G_LR = 8e-3  # learning rate of G at the start
D_LR = 8e-3  # learning rate of D at the start
# How long Adam remembers past gradients (0.0 means not at all, so there is no momentum) and their
# squares. Both are short, because the opponent keeps changing, and old gradients mislead.
BETAS = (0.0, 0.85)

# Run
SEED = 0
LOG_EVERY = 100  # steps from one printed line to the next
PLOT_FILE = "gan_1d.png"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def R(n):
    """Return n real samples, shape (n, 1), float32, for any n."""
    return torch.normal(REAL_MEAN, REAL_STD, (n, 1), device=DEVICE)


def I(n):
    """Return n noise vectors, shape (n, NOISE_DIM), uniform between -1 and 1."""
    return 2 * torch.rand(n, NOISE_DIM, device=DEVICE) - 1


class Generator(nn.Module):
    """G turns noise, shape (n, NOISE_DIM), into fakes, shape (n, 1)."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(NOISE_DIM, G_HIDDEN), nn.Tanh(),
            nn.Linear(G_HIDDEN, G_HIDDEN), nn.Tanh(),
            nn.Linear(G_HIDDEN, 1),
        )
        # G also learns the scale of its fakes, as a power of ten, in case R is far from 0. Adam
        # changes a weight by about G_LR in an update, however large its gradient is. So if R is
        # around 100, the weights alone need hundreds of updates, all in one direction, which leave
        # the last tanh units stuck at 1 or -1. But a change of the exponent by G_LR makes every
        # fake about 2% larger, in addition to what the weights do. Because the two multiply, the
        # fakes get there in about fifty updates (measured).
        self.exponent = nn.Parameter(torch.zeros(1))

    def forward(self, z):
        return 10**self.exponent * self.net(z)


class Discriminator(nn.Module):
    """D turns samples, shape (n, 1), into logits, shape (n, 1), which are positive for "real".

    In formulas, in the printed columns and in the picture, D(x) is the sigmoid of the logit, which
    is the probability that x is real. The net itself has no sigmoid at its end, because bce applies
    one. With a second one, D(x) could lie only between 0.5 and 0.73, so D could never say "fake".
    """

    def __init__(self, real):
        super().__init__()
        self.net = nn.Sequential(
            # Unlike tanh, leaky ReLU has a slope everywhere, so G gets a gradient from D even if
            # its fakes are far from all real samples.
            nn.Linear(1, D_HIDDEN), nn.LeakyReLU(0.2),
            nn.Linear(D_HIDDEN, D_HIDDEN), nn.LeakyReLU(0.2),
            nn.Linear(D_HIDDEN, 1),
        )
        # D standardizes its input by the mean and standard deviation of some real samples. They
        # are buffers, not parameters: saved and moved with D, but not trained.
        self.register_buffer("mean", real.mean())
        self.register_buffer("std", real.std())

    def forward(self, x):
        return self.net((x - self.mean) / self.std)


def bce(logits, label):
    """Return the binary cross-entropy of a batch, the mean of -log D(x) if the label is 1, and of
    -log(1 - D(x)) if the label is 0.
    """
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def train(R, I, G, D):
    """Train G and D, and return the history of the game, a list of what evaluate returns.

    This is Algorithm 1 of Goodfellow et al. (2014), except that G has the other loss that their
    section 3 suggests, as in most GANs since. R, I, G and D can be any functions and modules that
    fit together.
    """
    opt_d = torch.optim.Adam(D.parameters(), lr=D_LR, betas=BETAS)
    opt_g = torch.optim.Adam(G.parameters(), lr=G_LR, betas=BETAS)

    # Each net answers the last move of the other. At constant learning rates they would go on like
    # that and swing around the goal, so both rates fall to 0. G's rate falls evenly. D's falls like
    # the square root of that, so it stays higher. G learns only from D, so D must keep up with it.
    sched_d = torch.optim.lr_scheduler.PolynomialLR(opt_d, STEPS, power=0.5)
    sched_g = torch.optim.lr_scheduler.PolynomialLR(opt_g, STEPS)

    # Progress is always measured on the same samples. Most of it happens early, so the steps after
    # which it is measured lie close together at first, and then farther and farther apart.
    eval_real = R(5000)
    eval_z = I(5000)
    eval_steps = np.geomspace(1, STEPS + 1, 100).astype(int)
    history = [evaluate(0, G, D, eval_real, eval_z)]

    # The goal is that D can only guess, D(x) = 1/2. Each answer then costs -ln(1/2) = ln 2, so D's
    # loss, for a real sample and a fake, is 2 ln 2, and G's is ln 2.
    goal = 2 * np.log(2), np.log(2), 0.5, 0.5, eval_real.mean(), eval_real.std()
    line = "{:>6} {:8.3f} {:8.3f} {:8.3f} {:8.3f} {:#10.4g} {:#10.4g}"
    print("  step   D loss   G loss  D(real)  D(fake)       mean        std")
    print(line.format("goal", *goal))
    print(line.format(*history[0].values()))

    for step in range(1, STEPS + 1):
        # D's turn: maximize log D(x) + log(1 - D(G(z))), so minimize the two cross-entropies with
        # the correct labels, 1 for real samples and 0 for fakes.
        for _ in range(D_STEPS):
            real = R(BATCH_SIZE)
            fake = G(I(BATCH_SIZE)).detach()  # It is D's turn, so G needs no gradient.
            loss_d = bce(D(real), 1) + bce(D(fake), 0)
            opt_d.zero_grad()  # also clears the gradients that G's turn has left in D
            loss_d.backward()
            opt_d.step()  # changes only D

        # G's turn: maximize log D(G(z)). Here the fakes have the label 1, as if they were real,
        # because that is what G wants D to say. Algorithm 1 minimizes log(1 - D(G(z))) instead.
        # That has the same aim. But the derivative of log(1 - D) with respect to the logit is -D,
        # which is nearly 0 for all fakes that D recognizes. G would learn nothing from them.
        fake = G(I(BATCH_SIZE))
        loss_g = bce(D(fake), 1)
        opt_g.zero_grad()
        loss_g.backward()  # The gradient goes through D to G.
        opt_g.step()  # changes only G

        sched_d.step()
        sched_g.step()

        to_print = step % LOG_EVERY == 0 or step == STEPS
        if to_print or step in eval_steps:
            row = evaluate(step, G, D, eval_real, eval_z)
            history.append(row)
            if not np.isfinite(row["loss_d"] + row["loss_g"]):
                raise FloatingPointError(f"the loss is not finite at step {step}")
            if to_print:
                print(line.format(*row.values()))
    return history


@torch.no_grad()
def evaluate(step, G, D, real, z):
    """Return how the game stands, as a dict: the step, both losses, the mean of D(x) for real
    samples and for fakes, and the mean and standard deviation of the fakes.
    """
    fake = G(z)
    real_logits = D(real)
    fake_logits = D(fake)
    return {
        "step": step,
        "loss_d": (bce(real_logits, 1) + bce(fake_logits, 0)).item(),
        "loss_g": bce(fake_logits, 1).item(),
        "d_real": real_logits.sigmoid().mean().item(),
        "d_fake": fake_logits.sigmoid().mean().item(),
        "mean": fake.mean().item(),
        "std": fake.std().item(),
    }


def describe(x, real):
    """Return mean, std, skewness and kurtosis of samples x, and their distance from the real ones.

    This is the earth mover's distance (or Wasserstein-1): how far, on average, the samples x have
    to be moved to land on equally many real ones. The unit is the standard deviation of the real
    samples. In one dimension, the shortest way is to move the smallest to the smallest, and so on.
    """
    scaled = (x - x.mean()) / x.std()
    moves = x.sort(0).values - real.sort(0).values
    return {
        "mean": x.mean().item(),
        "std": x.std().item(),
        "skewness": (scaled**3).mean().item(),
        "kurtosis": (scaled**4).mean().item() - 3,  # in excess of a bell curve's, which is 3
        "distance": (moves.abs().mean() / real.std()).item(),
    }


@torch.no_grad()
def plot(history, real, fake, D):
    """Draw the history of the game, the samples real and fake, each of shape (n, 1), and D."""
    real = real.flatten().cpu().numpy()
    fake = fake.flatten().cpu().numpy()
    fig, axes = plt.subplots(2, 2, figsize=(8, 6.5), layout="constrained")

    steps = [row["step"] for row in history]
    for ax, key, title, goal in [
        (axes[0, 0], "mean", "Mean of the fakes", real.mean()),
        (axes[0, 1], "std", "Standard deviation of the fakes", real.std()),
    ]:
        ax.axhline(goal, color="C0", linestyle="--", label="real")
        ax.plot(steps, [row[key] for row in history], "C1", label="fake")
        ax.set(title=title, xlabel="step (on a logarithmic scale)", xscale="symlog")
        ax.xaxis.set_major_formatter("{x:.0f}")
        ax.legend()

    # Leave out the outermost samples at both ends, because a few of them can be far away.
    low, high = np.quantile(np.concatenate([real, fake]), [0.0002, 0.9998])

    ax = axes[1, 0]
    bins = np.linspace(low, high, 80)
    density, _, _ = ax.hist(real, bins, density=True, color="C0", alpha=0.5, label="real")
    ax.hist(fake, bins, density=True, color="C1", linewidth=2, histtype="step", label="fake")
    ax.set(title="Histograms, and D(x)", xlabel="x", ylabel="density")
    ax.set(ylim=(0, 1.5 * density.max()))
    ax.legend(loc="upper left", ncols=2)
    x = np.linspace(low, high, 500, dtype=np.float32)
    logits = D(torch.from_numpy(x[:, None]).to(DEVICE))
    ax_d = ax.twinx()
    ax_d.axhline(0.5, color="black", linewidth=0.5)
    ax_d.plot(x, logits.sigmoid().cpu(), "black", label="D(x)")
    ax_d.set(ylabel="D(x)", ylim=(0, 1.25), yticks=[0, 0.5, 1])
    ax_d.legend(loc="upper right")

    # Sorted uniform noise is evenly spaced, and an increasing G keeps its order. So the sorted
    # fakes draw the curve of G, and the sorted real samples draw that of a perfect G. (A decreasing
    # G is just as good. Sorting mirrors it, so that it rises, too.)
    ax = axes[1, 1]
    z = np.linspace(-1, 1, len(real))
    ax.plot(z, np.sort(real), "C0--", label="a perfect G")
    ax.plot(z, np.sort(fake), "C1", label="G")
    ax.set(title="Sorted samples: the curve of G", xlabel="z (if NOISE_DIM is 1)", ylabel="x")
    ax.set(ylim=(low, high))
    ax.legend()

    fig.savefig(PLOT_FILE)
    print("The picture is in", PLOT_FILE)
    plt.show()


def main():
    """Train G, show what it has learned, and return it."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # Nets as small as these are not faster with more.
    print(f"Training on {DEVICE}\n")

    real = R(100_000)
    assert real.shape == (100_000, 1), f"R(100_000) has the shape {real.shape}, not (100_000, 1)"
    assert real.dtype == torch.float32, f"R must return a tensor of float32, not of {real.dtype}"
    assert real.isfinite().all(), "R must return finite numbers only, no NaN and no infinity"
    assert real.min() < real.max(), "R must return more than one value"

    folder = Path(PLOT_FILE).parent
    assert folder.is_dir(), f"PLOT_FILE must be in a folder that exists, not in {folder}"
    types = plt.Figure().canvas.get_supported_filetypes()
    assert Path(PLOT_FILE).suffix[1:].lower() in types, f"PLOT_FILE must end in one of {[*types]}"

    G = Generator().to(DEVICE)
    D = Discriminator(real).to(DEVICE)
    history = train(R, I, G, D)

    # Two sets of real samples also differ, by chance. Their distance is the best that G can reach.
    real = R(100_000)
    other = R(100_000)
    fake = G(I(100_000)).detach()
    print("\n             mean        std skewness kurtosis distance")
    line = "{:>6} {:#10.4g} {:#10.4g} {:8.3f} {:8.3f} {:8.3f}"
    for name, x in [("real", real), ("fake", fake)]:
        print(line.format(name, *describe(x, other).values()))
    plot(history, real, fake, D)
    return G


if __name__ == "__main__":
    G = main()  # keeps G for a notebook, or for python -i gan_1d.py
