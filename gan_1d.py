"""gan_1d.py: a complete generative adversarial network (GAN) on the simplest data there is.

Two small neural nets play a game. G, the generator, turns random noise into numbers. D, the
discriminator, looks at a number and says how likely it is to be real. D learns to tell G's fakes
from real numbers; G learns to fool D. G never sees a real number. All that reaches it is D's
gradient: the direction in which to move each fake so that D finds it more real. Where there are
too many fakes D says "fake", and its gradient pushes them to where there are too few. In the end
the histogram of the fakes lies on that of the real numbers, but for the ends of its tails.

    R        the real data: a bell curve, which G must learn to imitate
    I        the input of G: uniform noise, flat, which G must bend into a bell
    G        the generator: noise in, fakes out
    D        the discriminator: samples in, verdicts out: real or fake?
    train    the game: D learns, then G learns, then D again

Run it with `python gan_1d.py`. It prints how the game goes and draws gan_1d.png. Then change a
constant below and run it again. The GAN paper is Goodfellow et al. 2014, arXiv 1406.2661.
"""
import math
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

# ---- Constants ---------------------------------------------------------------------------------

# R, the real data
REAL_MEAN = 4.0  # the centre of the bell
REAL_STD = 1.25  # its standard deviation

# I, the noise
NOISE_DIM = 1  # random numbers for each fake; more bring G closer to R
NOISE_RANGE = (-1.0, 1.0)  # each of them is uniform between these two

# G and D, the nets
G_HIDDEN = 32  # units in each hidden layer of G
D_HIDDEN = 32  # units in each hidden layer of D; with far fewer, D cannot see the shape

# The game
BATCH_SIZE = 384  # samples in each update; more make the game steadier and slower
STEPS = 1900  # steps of the game: in each, D's turn, then G's; more bring G closer to R
D_STEPS = 2  # updates of D in each of its turns; G has one
G_LR = 1e-2  # learning rate of G at the start
D_LR = 1.5e-2  # learning rate of D at the start; if it is much lower, D cannot keep up with G
# How long Adam remembers past gradients, and their squares: 0.0 is not at all, nearly 1 is long.
# With its usual (0.9, 0.999) all fakes are nearly the same number for hundreds of steps.
BETAS = (0.0, 0.8)

# The run
SEED = 0  # same seed, CPU and PyTorch: the same numbers; a GPU may round differently each time
LOG_EVERY = 100  # steps from one printed line to the next
PLOT_FILE = "gan_1d.png"  # the picture: a .png, .pdf or .svg
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # nets this small may be faster on "cpu"


# ---- R and I: real data and noise --------------------------------------------------------------

def R(n):
    """Return n real samples, shape (n, 1)."""
    return torch.normal(REAL_MEAN, REAL_STD, (n, 1), device=DEVICE)


def I(n):
    """Return n noise vectors, shape (n, NOISE_DIM).

    The noise is uniform because normal noise is a bell already: G would only have to shift and
    scale it. Uniform noise has two ends, so the fakes have, too: the endless tails of a bell are
    out of reach.
    """
    low, high = NOISE_RANGE
    return low + (high - low) * torch.rand(n, NOISE_DIM, device=DEVICE)


# ---- G and D: the two nets ---------------------------------------------------------------------

class Generator(nn.Module):
    """G turns noise, shape (n, NOISE_DIM), into fakes, shape (n, 1)."""

    def __init__(self):
        super().__init__()
        self.hidden1 = nn.Linear(NOISE_DIM, G_HIDDEN)
        self.hidden2 = nn.Linear(G_HIDDEN, G_HIDDEN)
        self.norm = nn.LayerNorm(G_HIDDEN)
        self.out = nn.Linear(G_HIDDEN, 1)
        # PyTorch starts biases close to 0. These start far apart, which brings G a little closer to
        # R (tests/RESULTS.md). The 4 was found by trial.
        nn.init.uniform_(self.hidden2.bias, -4, 4)
        self.to(DEVICE)

    def forward(self, z):
        h = torch.tanh(self.hidden1(z))
        # If R is as far as REAL_MEAN = 100.0, G would push every tanh below to 1 or -1, where it is
        # flat and G learns no more. LayerNorm (Ba et al. 2016, arXiv 1607.06450) leaves some in
        # between: for each fake it shifts and scales the G_HIDDEN inputs of the tanh together, to
        # mean 0 and variance 1. Then it gives each unit a gain and a bias, which are learned.
        h = torch.tanh(self.norm(self.hidden2(h)))
        return self.out(h)


class Discriminator(nn.Module):
    """D turns samples, shape (n, 1), into logits, shape (n, 1).

    It judges each sample x on its own. In formulas D(x) is the probability that x is real; the best
    that D can learn is the share of real ones among all samples near x. In code D(x) is the logit
    of that, a number without bounds: the probability is sigmoid(logit), so a logit above 0 says
    "real", one below 0 "fake".

    G may not look at real samples, but D may: it scales its input by the mean and the standard
    deviation of some. It takes them from this file's R: if you give train() another R, give it
    another D, too.
    """

    def __init__(self):
        super().__init__()
        sample = R(10_000)
        # Buffers are kept with the weights, but no optimiser changes them.
        self.register_buffer("mean", sample.mean())
        self.register_buffer("std", sample.std())
        self.hidden1 = nn.Linear(1, D_HIDDEN)
        self.hidden2 = nn.Linear(D_HIDDEN, D_HIDDEN)
        self.out = nn.Linear(D_HIDDEN, 1)
        self.to(DEVICE)

    def forward(self, x):
        h = (x - self.mean) / self.std
        h = F.leaky_relu(self.hidden1(h), 0.2)  # 0.2 is the slope below 0.
        h = F.leaky_relu(self.hidden2(h), 0.2)
        return self.out(h)


# ---- The two losses ----------------------------------------------------------------------------

def d_loss(real_logit, fake_logit):
    """-mean[log D(x)] - mean[log(1 - D(G(z)))] for real samples x and fakes G(z) from noise z.

    D wants to say 1 to real samples and 0 to fakes, so these are the labels. With label 1 the
    binary cross-entropy is -mean[log D], with label 0 it is -mean[log(1 - D)].
    """
    ones = torch.ones_like(real_logit)
    zeros = torch.zeros_like(fake_logit)
    real_loss = F.binary_cross_entropy_with_logits(real_logit, ones)
    fake_loss = F.binary_cross_entropy_with_logits(fake_logit, zeros)
    return real_loss + fake_loss


def g_loss(fake_logit):
    """-mean[log D(G(z))]: G wants D to say 1 to its fakes, so here their label is 1.

    Minimising mean[log(1 - D(G(z)))] has the same aim. But where D is sure that a fake is fake,
    log(1 - D) is close to 0 and flat: it hardly changes with the logit, so that G gets next to no
    gradient (GAN paper, section 3). With that loss and REAL_MEAN = 20.0, G stops on its way.
    """
    ones = torch.ones_like(fake_logit)
    return F.binary_cross_entropy_with_logits(fake_logit, ones)


# ---- The game ----------------------------------------------------------------------------------

def train(R, I, G, D):
    """Play the game, which trains G and D in place, and return the history.

    R(n) gives n real samples and I(n) n noise vectors; G turns noise into fakes of the shape of the
    real samples, and D turns samples into logits. The history is a list of what look() returns.
    """
    # fused=True makes Adam faster: it updates all weights in one call.
    opt_d = torch.optim.Adam(D.parameters(), lr=D_LR, betas=BETAS, fused=True)
    opt_g = torch.optim.Adam(G.parameters(), lr=G_LR, betas=BETAS, fused=True)

    # Every look is at the same real samples and the same noise, so only G and D change.
    real = R(5000)
    z = I(5000)
    print_goal(real)
    history = []

    for step in range(STEPS):
        if step % LOG_EVERY == 0:
            history.append(look(step, G, D, real, z))

        # G runs past the goal before D has learned to turn it back, so the two circle round it
        # (Mescheder et al. 2018, arXiv 1801.04406). As the rates fall to 0, the circles shrink. G's
        # rate falls sooner, so that D keeps up with G's last, fine moves.
        opt_d.param_groups[0]["lr"] = D_LR * (1 - step / STEPS) ** 0.5
        opt_g.param_groups[0]["lr"] = G_LR * (1 - step / STEPS) ** 2

        # One batch of fakes can serve both turns, because G does not change during D's turn.
        fake = G(I(BATCH_SIZE))

        # D's turn: maximise log D(x) + log(1 - D(G(z))), which is to minimise d_loss.
        for _ in range(D_STEPS):
            # detach() cuts the fakes off from G, so that backward() stops at them. Otherwise it
            # would go on through G, and delete the record of how G made the fakes, which G's turn
            # still needs.
            loss = d_loss(D(R(BATCH_SIZE)), D(fake.detach()))
            opt_d.zero_grad()  # This also clears what G's backward() has left in D.
            loss.backward()
            opt_d.step()  # This changes D alone: opt_d knows only the weights of D.

        # G's turn: maximise log D(G(z)), which is to minimise g_loss. D is asked again, because it
        # has learned since, and because this time the gradient must run through D and the fakes
        # back to G. On its way it leaves gradients in D, too. Nobody uses them.
        loss = g_loss(D(fake))
        opt_g.zero_grad()
        loss.backward()
        opt_g.step()  # This changes G alone.

    history.append(look(STEPS, G, D, real, z))
    return history


# ---- Looking at the game -----------------------------------------------------------------------

def print_goal(real):
    """Print the header, and the numbers that all the lines below it should come to.

    When the fakes are perfect, D can only guess: it says 1/2 to every sample. Then the loss of D
    is 2 ln 2 = 1.386, that of G is ln 2 = 0.693. A D that cannot see the difference guesses, too,
    so look at the mean and the standard deviation as well.
    """
    print("  step   D loss   G loss  D(real)  D(fake)     mean      std")
    print(f"  goal    1.386    0.693    0.500    0.500{real.mean():9.3f}{real.std():9.3f}")


def look(step, G, D, real, z):
    """Print a line on how the game stands after so many steps, and return it as a dict.

    Its keys are step; d_loss and g_loss; mean and std, those of the fakes; and, for the picture or
    an animation, four tensors on the CPU: real and fake, the samples, and d_real and d_fake, the
    probability that D gives each of them. If a loss is no longer finite, the run ends.
    """
    with torch.no_grad():
        fake = G(z)
        real_logit = D(real)
        fake_logit = D(fake)
    row = {
        "step": step,
        "d_loss": d_loss(real_logit, fake_logit).item(),
        "g_loss": g_loss(fake_logit).item(),
        "mean": fake.mean().item(),
        "std": fake.std().item(),
        "real": real.cpu(),
        "fake": fake.cpu(),
        "d_real": torch.sigmoid(real_logit).cpu(),
        "d_fake": torch.sigmoid(fake_logit).cpu(),
    }
    print(
        f"{step:6}{row['d_loss']:9.3f}{row['g_loss']:9.3f}{row['d_real'].mean():9.3f}"
        f"{row['d_fake'].mean():9.3f}{row['mean']:9.3f}{row['std']:9.3f}"
    )
    if not math.isfinite(row["d_loss"] + row["g_loss"]):
        sys.exit(f"The loss is no longer finite at step {step}: try a lower D_LR or G_LR.")
    return row


def skewness_and_kurtosis(x):
    """Return two numbers on the shape of an array's histogram, both 0 for a bell.

    Skewness is not 0 if one side is longer; excess kurtosis is below 0 if the tails are lighter.
    """
    z = (x - x.mean()) / x.std()
    return (z**3).mean(), (z**4).mean() - 3


def report(real, fake):
    """Print how alike two sorted arrays of equal length are, shape (n,), and the verdict."""
    real_skewness, real_kurtosis = skewness_and_kurtosis(real)
    fake_skewness, fake_kurtosis = skewness_and_kurtosis(fake)
    print(f"\n{len(real):,} samples of each       real      fake")
    print(f"mean                {real.mean():12.3f}{fake.mean():10.3f}")
    print(f"standard deviation  {real.std():12.3f}{fake.std():10.3f}")
    print(f"skewness            {real_skewness:12.3f}{fake_skewness:10.3f}")
    print(f"excess kurtosis     {real_kurtosis:12.3f}{fake_kurtosis:10.3f}")

    # How far must the fakes move, on average, to become the real samples? The way is shortest if
    # the smallest fake becomes the smallest real sample, the next one the next, and so on.
    distance = np.abs(real - fake).mean() / real.std()
    print(f"\nEarth mover's distance: {distance:.3f} standard deviations of R.")

    # A bell and a flat block with the same mean and standard deviation are 0.154 apart, two sets of
    # samples of one bell some 0.005. Where to draw the line in between is our choice.
    advice = 'Try more STEPS, or see "What goes wrong" in README.md.'
    if distance <= 0.05:
        print("G has learned R.")
    elif distance <= 0.1:
        print("G has nearly learned R.", advice)
    else:
        print("G has not learned R.", advice)


def plot(history, real, fake):
    """Draw the history and two sorted arrays of equal length, shape (n,), into PLOT_FILE."""
    figure = plt.figure(figsize=(11, 8))
    figure.subplots_adjust(left=0.1, right=0.96, bottom=0.08, top=0.95, wspace=0.4, hspace=0.3)
    steps = [row["step"] for row in history]
    last = history[-1]

    ax = figure.add_subplot(2, 2, 1)
    ax.plot(steps, [row["mean"] for row in history], "C1o-", label="fake")
    ax.axhline(real.mean(), color="C0", linestyle="--", label="real")
    ax.set(title="Mean", xlabel="step", ylabel="mean")
    ax.legend()

    ax = figure.add_subplot(2, 2, 2)
    ax.plot(steps, [row["std"] for row in history], "C1o-", label="fake")
    ax.axhline(real.std(), color="C0", linestyle="--", label="real")
    ax.set(title="Standard deviation", xlabel="step", ylabel="standard deviation")
    ax.legend()

    # As in figure 1 of the GAN paper, D(x) is drawn over the same x as the histograms.
    ax = figure.add_subplot(2, 2, 3)
    bins = np.linspace(min(real[0], fake[0]), max(real[-1], fake[-1]), 100)
    ax.hist(real, bins, density=True, color="C0", alpha=0.5, histtype="stepfilled", label="real")
    ax.hist(fake, bins, density=True, color="C1", linewidth=2, histtype="step", label="fake")
    ax.set(title="Histograms, and what D says", xlabel="x", ylabel="density")
    ax.legend(loc="center left")
    right = ax.twinx()
    right.plot(last["real"], last["d_real"], "k.", markersize=1)
    right.plot(last["fake"], last["d_fake"], "k.", markersize=1)
    right.set(ylabel="D(x), the black dots", ylim=(0, 1), yticks=(0, 0.5, 1))

    # The area between the two curves is the earth mover's distance, in units of x. If NOISE_DIM is
    # 1 and G rises all the way, the curve of the fakes is G itself, with its noise drawn as 0 to 1.
    # A perfect G would give the curve of the real samples.
    ax = figure.add_subplot(2, 2, 4)
    share = np.linspace(0, 1, len(real))
    ax.plot(share, real, "C0--", label="real")
    ax.plot(share, fake, "C1", label="fake")
    ax.set(title="Sorted samples", xlabel="share of smaller samples", ylabel="x")
    ax.legend(loc="upper left")

    figure.savefig(PLOT_FILE, dpi=110)
    print(f"The picture is {Path(PLOT_FILE).resolve()}")
    plt.show()  # This opens a window, or shows the picture in a notebook.
    plt.close(figure)


# ---- Running it --------------------------------------------------------------------------------

def refuse(name, wanted):
    """End the run with a message about a constant."""
    sys.exit(f"{name} = {globals()[name]!r} cannot work: it must be {wanted}.")


def check_constants():
    """End the run, with a message that names it, if a constant cannot work."""
    for name in "NOISE_DIM", "G_HIDDEN", "D_HIDDEN", "BATCH_SIZE", "STEPS", "D_STEPS", "LOG_EVERY":
        value = globals()[name]
        if not isinstance(value, int) or value < 1:
            refuse(name, "a whole number above 0")
    for name in "REAL_STD", "G_LR", "D_LR":
        value = globals()[name]
        if not isinstance(value, (int, float)) or not 0 < value < math.inf:
            refuse(name, "a number above 0")
    if not math.isfinite(REAL_MEAN):
        refuse("REAL_MEAN", "a finite number")
    if len(NOISE_RANGE) != 2 or not -math.inf < NOISE_RANGE[0] < NOISE_RANGE[1] < math.inf:
        refuse("NOISE_RANGE", "two numbers, the lower one first")
    if len(BETAS) != 2 or not all(isinstance(beta, float) and 0 <= beta < 1 for beta in BETAS):
        refuse("BETAS", "two floats (0.0, not 0) from 0.0 to below 1.0")
    path = Path(PLOT_FILE)
    if path.suffix not in (".png", ".pdf", ".svg") or not path.parent.is_dir():
        refuse("PLOT_FILE", "a .png, .pdf or .svg in a folder that exists")


def main():
    """Train G, show what it has learned, and return it."""
    check_constants()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # On a CPU, more threads make nets this small no faster.
    print(f"Training on {DEVICE}\n")
    G = Generator()
    D = Discriminator()
    history = train(R, I, G, D)

    real = R(100_000)
    with torch.no_grad():
        fake = G(I(100_000))
    real = np.sort(real.cpu().numpy().ravel())
    fake = np.sort(fake.cpu().numpy().ravel())
    report(real, fake)
    plot(history, real, fake)
    return G


if __name__ == "__main__":
    main()
