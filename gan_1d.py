"""A generative adversarial network (GAN), complete, on the simplest data there is.

Two small neural nets play a game. G, the generator, turns random noise into numbers. D, the
discriminator, looks at a number and says how likely it is to be real. D learns to tell G's fakes
from real numbers; G learns to fool D. G never sees a real number. All that reaches it is D's
gradient: the direction in which to move each fake so that D finds it more real. Where there are
too many fakes D says "fake", and G moves them to where there are too few.

    R      the real data: a bell curve
    I      the input of G: uniform noise, flat (normal noise would be a bell already)
    G      the generator: noise in, fakes out
    D      the discriminator: samples in, verdicts out
    train  the game: D learns, then G learns, then D again

G is a curve from noise to numbers. Where it is steep, its fakes are spread thin; where it is
gentle, they crowd. So it must become gentle in the middle and steep at both ends.
"""
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import PolynomialLR

REAL_MEAN = 4.0
REAL_STD = 1.25  # standard deviation

NOISE_DIM = 1  # random numbers that G gets for each fake
G_HIDDEN = 32  # units in each hidden layer of G
D_HIDDEN = 32  # units in each hidden layer of D; with far fewer, D cannot see the shape

BATCH_SIZE = 384  # samples in each update; more make the game steadier and slower
STEPS = 1900  # steps of the game; in each, D has its turn, then G
D_STEPS = 3  # updates of D in each of its turns; G has one
G_LR = 8e-3  # learning rate of G at the start
D_LR = 1e-2  # learning rate of D at the start; if it is much lower, D cannot keep up with G
BETAS = (0.0, 0.85)  # how long Adam remembers gradients (not at all) and their squares (shortly)

SEED = 0  # the same seed, CPU and PyTorch give the same numbers
LOG_EVERY = 100  # steps from one printed line to the next
PLOT_FILE = "gan_1d.png"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def R(n):
    """Return n real samples, shape (n, 1)."""
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
        self.size = nn.Parameter(torch.zeros(1))

    def forward(self, z):
        # One update of size scales all fakes by some 2%: a few hundred take them from 0.01 to 100.
        return torch.exp(2 * self.size) * self.net(z)


class Discriminator(nn.Module):
    """D turns samples, shape (n, 1), into logits, shape (n, 1).

    In formulas D(x) is the probability that x is real; a perfect D gives the share of real ones
    among all samples near x. In code it is the logit of that: above 0 means "real", below 0 "fake",
    and sigmoid(logit) is the probability.
    """

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(1, D_HIDDEN), nn.LeakyReLU(0.2),
            nn.Linear(D_HIDDEN, D_HIDDEN), nn.LeakyReLU(0.2),
            nn.Linear(D_HIDDEN, 1),
        )
        self.std, self.mean = torch.std_mean(R(10_000))  # To scale its input, D may look at R.

    def forward(self, x):
        return self.net((x - self.mean) / self.std)


def bce(logits, label):
    """Binary cross-entropy: the mean of -log D if label is 1, of -log(1 - D) if it is 0."""
    labels = torch.full_like(logits, label)
    return nn.functional.binary_cross_entropy_with_logits(logits, labels)


def train(R, I, G, D):
    """Play the game with R(n), I(n) and any G and D that fit them; return its history."""
    opt_d = torch.optim.Adam(D.parameters(), lr=D_LR, betas=BETAS, fused=True)  # fused is faster
    opt_g = torch.optim.Adam(G.parameters(), lr=G_LR, betas=BETAS, fused=True)
    schedule_d = PolynomialLR(opt_d, STEPS, power=0.5)
    schedule_g = PolynomialLR(opt_g, STEPS, power=2)
    real, z = R(5000), I(5000)
    history = {"real": real.cpu().numpy(), "looks": []}

    # When the fakes are perfect, D can only guess: it says 1/2. Then its loss is 2 ln 2, G's ln 2.
    # A D too weak to see a difference guesses, too: look at the mean and the standard deviation.
    print("  step   D loss   G loss  D(real)  D(fake)     mean      std")
    print(f"  goal    1.386    0.693    0.500    0.500{real.mean():9.3f}{real.std():9.3f}")

    for step in range(STEPS):
        if step % LOG_EVERY == 0:
            history["looks"].append(look(step, G, D, real, z))

        # D's turn: maximise log D(x) + log(1 - D(G(z))). detach() cuts the fakes off from G: else
        # backward() would free the record of how G made them, which the next updates still need.
        fake = G(I(BATCH_SIZE))
        for _ in range(D_STEPS):
            loss = bce(D(R(BATCH_SIZE)), 1) + bce(D(fake.detach()), 0)
            opt_d.zero_grad()  # This also clears what G's turn has left in D.
            loss.backward()
            opt_d.step()  # This changes D alone: opt_d knows only the weights of D.

        # G's turn: maximise log D(G(z)). Minimising log(1 - D(G(z))) has the same aim, but that is
        # flat where D is sure of a fake, so G would hardly learn (Goodfellow et al. 2014, arXiv
        # 1406.2661, section 3). D is asked again: it has learned since, and now the gradient must
        # run through D and the fakes to G.
        loss = bce(D(fake), 1)
        opt_g.zero_grad()
        loss.backward()
        opt_g.step()  # This changes G alone.

        # At constant learning rates G and D circle round the goal. So the rates fall to 0, G's
        # faster, to let D keep up with G's last, fine moves.
        schedule_d.step()
        schedule_g.step()
    history["looks"].append(look(STEPS, G, D, real, z))
    return history


def look(step, G, D, real, z):
    """Print how the game stands. Return the fakes, and D's probabilities for real and fake."""
    with torch.no_grad():
        fake = G(z)
        real_logits, fake_logits = D(real), D(fake)
    d_loss = bce(real_logits, 1) + bce(fake_logits, 0)
    g_loss = bce(fake_logits, 1)
    d_real, d_fake = torch.sigmoid(real_logits), torch.sigmoid(fake_logits)
    numbers = d_loss, g_loss, d_real.mean(), d_fake.mean(), fake.mean(), fake.std()
    print(f"{step:6}" + "".join(f"{number:9.3f}" for number in numbers), flush=True)
    if not torch.isfinite(d_loss + g_loss):
        raise FloatingPointError(f"the loss is no longer finite at step {step}")
    fake, d_real, d_fake = [x.cpu().numpy().copy() for x in (fake, d_real, d_fake)]  # saves memory
    return {"step": step, "fake": fake, "d_real": d_real, "d_fake": d_fake}


def plot(history, real, fake):
    """Draw the history and two sorted arrays of equal shape, (n, 1), into PLOT_FILE."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 8), layout="constrained")
    looks = history["looks"]
    steps = [row["step"] for row in looks]
    for ax, name, measure in zip(axes[0], ("mean", "standard deviation"), (np.mean, np.std)):
        ax.axhline(measure(real), color="C0", linestyle="--", label="real")
        ax.plot(steps, [measure(row["fake"]) for row in looks], "C1o-", label="fake")
        ax.set(xlabel="step", ylabel=name)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)

    # D(x) is drawn over the same x as the histograms, as in figure 1 of Goodfellow et al. 2014.
    bins = np.linspace(min(real.min(), fake.min()), max(real.max(), fake.max()), 100)
    axes[1, 0].hist(real, bins, density=True, color="C0", alpha=0.5, histtype="stepfilled")
    axes[1, 0].hist(fake, bins, density=True, color="C1", linewidth=2, histtype="step")
    axes[1, 0].set(xlabel="x", ylabel="density")
    right = axes[1, 0].twinx()
    right.plot(history["real"], looks[-1]["d_real"], "k.", markersize=1)
    right.plot(looks[-1]["fake"], looks[-1]["d_fake"], "k.", markersize=1)
    right.set(ylabel="D(x), black dots", ylim=(0, 1))

    # If G rises and NOISE_DIM is 1, its sorted fakes draw the curve of G; R's, that of a perfect G.
    share = np.linspace(0, 1, len(real))
    axes[1, 1].plot(share, real, "C0--")
    axes[1, 1].plot(share, fake, "C1")
    axes[1, 1].set(xlabel="share of smaller samples", ylabel="x")

    figure.savefig(PLOT_FILE)
    print("The picture is", os.path.abspath(PLOT_FILE))
    plt.show()  # This opens a window, or shows the picture in a notebook.
    plt.close(figure)


def main():
    """Train G, show what it has learned, and return it."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # On a CPU, more threads make nets this small no faster.
    print(f"Training on {DEVICE}\n")
    G = Generator().to(DEVICE)
    D = Discriminator().to(DEVICE)
    history = train(R, I, G, D)

    # Skewness and kurtosis are 0 for a bell. The earth mover's distance: how far must samples move,
    # on average and in standard deviations of R, to become other real ones, if the smallest becomes
    # the smallest, the next the next, and so on? Real samples show what chance makes of it.
    samples = R(100_000), R(100_000), G(I(100_000)).detach()
    other, real, fake = [x.sort(0).values for x in samples]
    print("\n           mean      std skewness kurtosis distance")
    for name, x in [("real", real), ("fake", fake)]:
        scaled = (x - x.mean()) / x.std()
        distance = (x - other).abs().mean() / other.std()
        numbers = x.mean(), x.std(), (scaled**3).mean(), (scaled**4).mean() - 3, distance
        print(f"{name:6}" + "".join(f"{number:9.3f}" for number in numbers))
    plot(history, real.cpu().numpy(), fake.cpu().numpy())
    return G


if __name__ == "__main__":
    main()
