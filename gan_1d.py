"""A complete generative adversarial network (GAN) for the simplest data possible.

Run it with "python gan_1d.py". It trains in seconds, prints how the game goes, and saves and
shows a picture of the result, gan_1d.png. There are five ingredients:

    R      the real data: samples of a normal distribution, a bell curve
    I      the input of G: uniform noise, which G must bend into the bell
    G      the generator: a neural network that turns noise into samples of its own, the fakes
    D      the discriminator: a neural network that says how likely a sample is to be real
    train  the game: D learns to tell real from fake, then G learns to fool D, again and again

G never sees a real sample. All that reaches it is D's gradient: the direction in which to move each
fake so that it looks more real to D. Where there are too many fakes, D says "fake", and G moves
them to where there are too few.

The idea is that of Goodfellow et al. (2014), "Generative Adversarial Networks",
https://arxiv.org/abs/1406.2661.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

# Data
REAL_MEAN = 4.0  # fakes start near 0; above 700, or above 25 * REAL_STD, training may fail
REAL_STD = 1.25  # standard deviation
# How many random numbers G gets for each fake. With one, the histogram of the fakes ends in a cliff
# on each side. With two, each z is a point in a square. The outermost fakes then come from small
# parts of the square, such as its corners, so the ends of the histogram fade out.
NOISE_DIM = 2

# Networks
G_HIDDEN = 32  # units in each of G's two hidden layers
D_HIDDEN = 32  # units in each of D's two hidden layers; with far fewer, D cannot see the shape

# Game
BATCH_SIZE = 512  # samples of each kind in an update; more make the game steadier, but slower
STEPS = 900  # in each step D has its turn, then G
D_STEPS = 3  # updates of D in each of its turns; with fewer, the bell gets rougher
G_LR = 8e-3  # learning rate of G at the start; it falls to 0
D_LR = 4e-3  # learning rate of D
# The first beta says how long Adam remembers past gradients. 0.0 means not at all, so there is no
# momentum. With 0.9, the fakes may run back and forth as a single clump. The second says how long
# Adam remembers the squares of gradients. With 0.999, the fakes may end as a single point if the
# data are far from 0.
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
    """Return n noise vectors, shape (n, NOISE_DIM), uniform between -1.5 and 1.5.

    Noise between -1 and 1 does just as well here, but does worse if the data are far from 0.
    """
    return 3 * torch.rand(n, NOISE_DIM, device=DEVICE) - 1.5


class Generator(nn.Module):
    """G turns noise, shape (n, NOISE_DIM), into fakes, shape (n, 1)."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(NOISE_DIM, G_HIDDEN), nn.Tanh(),
            nn.Linear(G_HIDDEN, G_HIDDEN), nn.Tanh(),
            nn.Linear(G_HIDDEN, 1),
        )
        # G also learns the scale of its fakes, as a power of ten. Adam changes every weight by
        # about G_LR in each step. Without the exponent, even all the weights together would need
        # hundreds of steps to bring the mean of the fakes to 100. On the way, the inner weights
        # would grow as well, until the units of the last tanh layer were stuck at -1 or 1, and all
        # the fakes were the same. With the exponent, the mean gets there in far fewer steps,
        # because the power of ten multiplies what the weights do.
        self.exponent = nn.Parameter(torch.zeros(1))

    def forward(self, z):
        return 10**self.exponent * self.net(z)


class Discriminator(nn.Module):
    """D turns samples, shape (n, 1), into logits, shape (n, 1), which are positive for "real".

    In formulas, in the printed columns, and in the picture, D(x) is the sigmoid of the logit. It is
    D's estimate of the probability that x is real. The net itself has no sigmoid at its end,
    because bce applies one. With a second one, D(x) could lie only between 0.5 and 0.73, the
    sigmoids of 0 and 1, so D could never say "fake".
    """

    def __init__(self, real):
        super().__init__()
        self.net = nn.Sequential(
            # Leaky ReLU has a slope everywhere, so G gets a gradient from D even if its fakes are
            # far from all real samples. Tanh, as in G, is flat far from 0.
            nn.Linear(1, D_HIDDEN), nn.LeakyReLU(0.2),
            nn.Linear(D_HIDDEN, D_HIDDEN), nn.LeakyReLU(0.2),
            nn.Linear(D_HIDDEN, 1),
        )
        # D standardizes its input with the mean and standard deviation of some real samples. They
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
    """Train G and D, and return the history of the game: a list of tuples (step, mean, std), with
    the mean and the standard deviation of the fakes after that step, for some of the steps.

    This is Algorithm 1 of Goodfellow et al. (2014), except that G has the alternative loss that
    their section 3 suggests, as in most GANs since. R, I, G, and D can be any functions and modules
    that fit together.
    """
    assert D_STEPS > 0, "D_STEPS must be at least 1"
    G.train()
    D.train()
    opt_d = torch.optim.Adam(D.parameters(), lr=D_LR, betas=BETAS)
    opt_g = torch.optim.Adam(G.parameters(), lr=G_LR, betas=BETAS)

    # Each net answers the last move of the other. At constant learning rates they would go on like
    # that and swing around the goal, so G's rate falls to 0. (With a power of 1.5, it falls faster
    # at first than it would along a straight line. Over 64 seeds, this reduces the distance printed
    # at the end by a sixth.) D's rate stays as it is, so that D goes on learning what is still
    # wrong. If it fell as well, the distance would be more than twice as large.
    sched_g = torch.optim.lr_scheduler.PolynomialLR(opt_g, STEPS, power=1.5)

    # The fakes to be measured are always made from the same noise. They change most in the early
    # steps, so the steps to plot lie close together at first, and then farther and farther apart.
    many_real = R(5000)
    fixed_z = I(2000)
    steps_to_plot = np.geomspace(1, max(1, STEPS), 100).round()
    history = []

    for step in range(1, STEPS + 1):
        # D's turn: maximize log D(x) + log(1 - D(G(z))), that is, minimize the sum of the two
        # cross-entropies with the correct labels, 1 for real samples and 0 for fakes.
        for _ in range(D_STEPS):
            real = R(BATCH_SIZE)
            fake = G(I(BATCH_SIZE)).detach()  # no gradient for G now, which saves work
            real_logits = D(real)
            fake_logits = D(fake)
            loss_d = bce(real_logits, 1) + bce(fake_logits, 0)
            opt_d.zero_grad()  # also clears the gradients that G's turn has left in D
            loss_d.backward()
            opt_d.step()  # changes only D

        # G's turn: maximize log D(G(z)). Here the fakes have the label 1, as if they were real,
        # because that is what G wants D to say. (Algorithm 1 minimizes log(1 - D(G(z))), which has
        # the same aim and works just as well here. But where D is sure that a sample is fake, the
        # gradient of log(1 - D(G(z))) is nearly 0, so fakes that start far from the real samples
        # hardly ever arrive.)
        fake = G(I(BATCH_SIZE))
        loss_g = bce(D(fake), 1)
        opt_g.zero_grad()
        loss_g.backward()  # The gradient goes through D to G.
        opt_g.step()  # changes only G

        sched_g.step()
        assert torch.isfinite(loss_d + loss_g), f"the loss is not finite at step {step}"

        plotting = step in steps_to_plot
        printing = step == 1 or step == STEPS or step % LOG_EVERY == 0
        if plotting or printing:
            fake = G(fixed_z).detach()
            mean = fake.mean().item()
            std = fake.std().item()
        if plotting:
            history.append((step, mean, std))
        if printing:
            # Each column has a name, a value, and a goal, which is the value if the fakes are
            # perfect. D's best answer to every sample is then 1/2. It costs -ln(1/2) = ln 2, and
            # D's loss adds up two such costs, one for real samples and one for fakes. (A different
            # loss would have different goals.) But losses at the goal do not prove that the fakes
            # are perfect, because D may overlook a difference. The format #10.4g shows four
            # significant digits.
            columns = {
                "D loss": (loss_d, 2 * np.log(2)),
                "G loss": (loss_g, np.log(2)),
                "D(real)": (real_logits.sigmoid().mean(), 0.5),
                "D(fake)": (fake_logits.sigmoid().mean(), 0.5),
                "mean": (mean, many_real.mean()),
                "std": (std, many_real.std()),
            }
            if step == 1:
                print("  step", *(f"{name:>10}" for name in columns))
                print("  goal", *(f"{goal:#10.4g}" for _, goal in columns.values()))
            print(f"{step:6}", *(f"{value:#10.4g}" for value, _ in columns.values()))
    return history


def describe(x, real):
    """Return mean, std, skewness, and kurtosis of samples x, and their distance from the real ones.

    The distance is the earth mover's distance (or Wasserstein-1): how far, on average, the samples
    x have to be moved to match an equally large set of real ones. The unit is the standard
    deviation of the real samples. In one dimension, the shortest way is to move the smallest to the
    smallest, and so on.
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
    """Draw the history of the game, D, and the samples real and fake, each of shape (n, 1)."""
    real = real.flatten().cpu().numpy()
    fake = fake.flatten().cpu().numpy()
    fig, axes = plt.subplots(2, 2, figsize=(8, 6.5), layout="constrained")

    steps = [step for step, _, _ in history]
    means = [mean for _, mean, _ in history]
    stds = [std for _, _, std in history]
    for ax, values, title, goal in [
        (axes[0, 0], means, "Mean of the fakes", real.mean()),
        (axes[0, 1], stds, "Standard deviation of the fakes", real.std()),
    ]:
        ax.axhline(goal, color="C0", linestyle="--", label="real")
        ax.plot(steps, values, "C1", label="fake")
        ax.set(title=title, xlabel="step (on a logarithmic scale)", xscale="log")
        ax.xaxis.set_major_formatter("{x:.0f}")
        ax.minorticks_off()
        ax.legend()

    # Leave out the outermost samples at both ends, because a few of them can be far away.
    low, high = np.quantile(np.concatenate([real, fake]), [0.0002, 0.9998])

    ax = axes[1, 0]
    bins = np.linspace(low, high, 80)
    bars, _, _ = ax.hist(real, bins, density=True, histtype="stepfilled", alpha=0.5, label="real")
    ax.hist(fake, bins, density=True, color="C1", linewidth=2, histtype="step", label="fake")
    ax.set(title="Histograms and D(x)", xlabel="x", ylabel="density")
    ax.set(ylim=(0, 1.5 * bars.max()))
    ax.legend(loc="upper left", ncols=2)
    x = torch.linspace(low, high, 500, device=DEVICE)[:, None]
    ax_d = ax.twinx()
    ax_d.axhline(0.5, color="black", linewidth=0.5)
    ax_d.plot(x.cpu(), D(x).sigmoid().cpu(), "black", label="D(x)")
    ax_d.set(ylabel="D(x)", ylim=(0, 1.25), yticks=[0, 0.5, 1])
    ax_d.legend(loc="upper right")

    # The sorted samples, thinned out. At a share of 1/2, for example, the curves pass through the
    # medians. The mean gap between the curves, in standard deviations of R, is the distance that
    # describe returns.
    ax = axes[1, 1]
    share = np.linspace(0, 1, 500)
    ax.plot(share, np.quantile(real, share), "C0--", label="real")
    ax.plot(share, np.quantile(fake, share), "C1", label="fake")
    ax.set(title="Sorted samples (mean gap: distance)", ylim=(low, high))
    ax.set(xlabel="share of the samples below x", ylabel="x")
    ax.legend()

    fig.savefig(PLOT_FILE)
    print("The picture is in", PLOT_FILE)
    plt.show()


def main():
    """Train G and D, show what they have learned, and return them."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # More threads help little, and hurt if the machine is busy.
    print(f"Training on {DEVICE}\n")

    real = R(100_000)
    assert real.shape == (100_000, 1), f"R(100_000) has the shape {real.shape}, not (100_000, 1)"
    dtype = torch.get_default_dtype()
    assert real.dtype == dtype, f"R must return a tensor of {dtype}, not of {real.dtype}"
    assert real.isfinite().all(), "R must return finite numbers only, no NaN and no infinity"
    assert real.min() < real.max(), "R must return more than one value"

    G = Generator().to(DEVICE)
    D = Discriminator(real).to(DEVICE)
    history = train(R, I, G, D)
    G.eval()  # Batch norm and dropout, if you add them, behave differently during training.
    D.eval()

    # The distance of one set of real samples from another is due to chance alone.
    fake = G(I(100_000)).detach()
    other_real = R(100_000)
    rows = {"real": describe(other_real, real), "fake": describe(fake, real)}
    print("\nBoth distances are measured from another set of 100,000 real samples.")
    print("      ", *(f"{name:>10}" for name in rows["real"]))
    for name, numbers in rows.items():
        print(f"  {name}", *(f"{number:#10.4g}" for number in numbers.values()))
    plot(history, real, fake, D)
    return G, D


if __name__ == "__main__":
    G, D = main()  # keeps both for a notebook, or for python -i gan_1d.py
