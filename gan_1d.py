"""A generative adversarial network (GAN), complete, on the simplest data there is.

    R      the real data: a bell curve
    I      the input of G: uniform noise, a flat block that G must bend into a bell
    G      the generator, a neural net that turns noise into numbers, the fakes
    D      the discriminator, a neural net that says how likely a number is to be real
    train  the game: D learns to tell real from fake, then G learns to fool D, and so on

G never sees a real sample. All that reaches it is D's gradient: the direction in which to move
each fake so that D finds it more real. Where there are too many fakes D says "fake", and G moves
them to where there are too few.

G is a curve from noise to numbers. Where it is steep, its fakes are spread thin; where it is
gentle, they crowd. So it must become gentle in the middle of the bell and steep at both ends.
"""
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

REAL_MEAN = 4.0
REAL_STD = 1.25  # standard deviation; if REAL_MEAN is over 20 times this, or over 300, G may fail
NOISE_DIM = 1  # random numbers that G gets for each fake
G_HIDDEN = 32  # units in each hidden layer of G
D_HIDDEN = 32  # units in each hidden layer of D; with far fewer, D cannot see the bell's shape

BATCH_SIZE = 384  # samples in each update; more make the game steadier and slower
STEPS = 1900  # steps of the game; in each, D has its turn, then G
D_STEPS = 3  # updates of D in each of its turns; G has one
G_LR = 8e-3  # learning rate of G at the start
D_LR = 1e-2  # learning rate of D at the start; if it is much lower, D cannot keep up with G
BETAS = (0.0, 0.85)  # Adam's memory of past gradients: short, as the opponent changes

SEED = 0  # the same seed, CPU and PyTorch give the same numbers
LOG_EVERY = 100  # steps from one printed line to the next
PLOT_FILE = "gan_1d.png"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def R(n):
    """Return n real samples, shape (n, 1), float32."""
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
        # Adam's steps are about G_LR: slow if R is far. A step in size scales all fakes by 2%.
        return torch.exp(2 * self.size) * self.net(z)


class Discriminator(nn.Module):
    """D turns samples, shape (n, 1), into logits, shape (n, 1): above 0 "real", below 0 "fake"."""
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(1, D_HIDDEN), nn.LeakyReLU(0.2),  # tanh is flat far away: no gradient
            nn.Linear(D_HIDDEN, D_HIDDEN), nn.LeakyReLU(0.2),
            nn.Linear(D_HIDDEN, 1),
        )
        self.std, self.mean = torch.std_mean(R(10_000))  # To scale its input, D may look at R.

    def forward(self, x):
        return self.net((x - self.mean) / self.std)


def bce(logits, label):
    """Return the mean of -log D if label is 1, of -log(1 - D) if it is 0; D is sigmoid(logits)."""
    return nn.functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def train(R, I, G, D):
    """Play the game with R(n), I(n) and any G and D that fit them; return its history."""
    opt_d = torch.optim.Adam(D.parameters(), lr=D_LR, betas=BETAS, fused=True)  # fused is faster
    opt_g = torch.optim.Adam(G.parameters(), lr=G_LR, betas=BETAS, fused=True)
    schedule_d = torch.optim.lr_scheduler.PolynomialLR(opt_d, STEPS, power=0.5)  # falls to 0
    schedule_g = torch.optim.lr_scheduler.PolynomialLR(opt_g, STEPS, power=2)  # falls sooner
    real = R(5000)
    z = I(5000)
    history = {"real": real.cpu().numpy(), "looks": []}

    # The goal: fakes so real that D can only guess, D(x) = 1/2. Its loss is 2 ln 2 then, G's ln 2.
    print("  step   D loss   G loss  D(real)  D(fake)     mean      std")
    print(f"  goal    1.386    0.693    0.500    0.500{real.mean():9.3f}{real.std():9.3f}")
    for step in range(STEPS):
        if step % LOG_EVERY == 0:
            history["looks"].append(look(step, G, D, real, z))

        # D's turn: maximise log D(x) + log(1 - D(G(z))). detach() cuts the fakes off from G: else
        # backward() would go on into G, and use up the record of its work that G's turn needs.
        fake = G(I(BATCH_SIZE))  # one batch for all of this step
        for _ in range(D_STEPS):
            loss = bce(D(R(BATCH_SIZE)), 1) + bce(D(fake.detach()), 0)
            opt_d.zero_grad()  # clears old gradients, also those of G's turn
            loss.backward()  # computes, for each weight, which way lowers the loss
            opt_d.step()  # This changes D alone: opt_d knows only the weights of D.

        # G's turn: maximise log D(G(z)). To minimise log(1 - D(G(z))) has the same aim, but where D
        # is sure of a fake, its gradient is near 0; log D's is not (Goodfellow et al. 2014, arXiv
        # 1406.2661, section 3). D has learned, so it judges anew; backward() goes on to G.
        loss = bce(D(fake), 1)
        opt_g.zero_grad()
        loss.backward()
        opt_g.step()

        # At constant learning rates G and D circle round the goal. So the rates fall, G's sooner.
        schedule_d.step()
        schedule_g.step()
    history["looks"].append(look(STEPS, G, D, real, z))
    return history


@torch.no_grad()
def look(step, G, D, real, z):
    """Print how the game stands. Return the fakes, and D's probabilities for real and fake."""
    fake = G(z)
    real_logits = D(real)
    fake_logits = D(fake)
    d_loss = bce(real_logits, 1) + bce(fake_logits, 0)
    g_loss = bce(fake_logits, 1)
    d_real = real_logits.sigmoid()
    d_fake = fake_logits.sigmoid()
    print(f"{step:6}{d_loss:9.3f}{g_loss:9.3f}{d_real.mean():9.3f}{d_fake.mean():9.3f}"
          f"{fake.mean():9.3f}{fake.std():9.3f}", flush=True)
    if not torch.isfinite(d_loss + g_loss):
        raise FloatingPointError(f"the loss is not finite at step {step}")
    return {"step": step, "fake": fake.cpu().numpy().copy(),
            "d_real": d_real.cpu().numpy(), "d_fake": d_fake.cpu().numpy()}


def plot(history, real, fake):
    """Draw the history and two sorted arrays of equal shape, (n, 1), into PLOT_FILE."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 8), layout="constrained")
    looks = history["looks"]
    steps = [row["step"] for row in looks]
    for ax, name, measure in [(axes[0, 0], "mean", np.mean), (axes[0, 1], "std", np.std)]:
        ax.axhline(measure(real), color="C0", linestyle="--")
        ax.plot(steps, [measure(row["fake"]) for row in looks], "C1o-")
        ax.set(xlabel="step", ylabel=name)

    bins = np.linspace(min(real.min(), fake.min()), max(real.max(), fake.max()), 100)
    axes[1, 0].hist(real, bins, density=True, color="C0", alpha=0.5, histtype="stepfilled")
    axes[1, 0].hist(fake, bins, density=True, color="C1", linewidth=2, histtype="step")
    axes[1, 0].set(xlabel="x", ylabel="density")
    right = axes[1, 0].twinx()
    right.plot(history["real"], looks[-1]["d_real"], "k.", markersize=1)
    right.plot(looks[-1]["fake"], looks[-1]["d_fake"], "k.", markersize=1)
    right.set(ylabel="D(x), black dots", ylim=(0, 1))

    # Sorted noise is evenly spaced: if G rises, sorted fakes draw G, real samples a perfect G.
    axes[1, 1].plot(real, "C0--", label="real")
    axes[1, 1].plot(fake, "C1", label="fake")
    axes[1, 1].set(xlabel="number of smaller samples", ylabel="x")
    figure.legend(loc="outside upper center", ncols=2)
    figure.savefig(PLOT_FILE)
    print("The picture is in", PLOT_FILE, flush=True)
    plt.show()


def main():
    """Train G, show what it has learned, and return it."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # More threads would not be faster: the nets are small.
    print(f"Training on {DEVICE}\n")
    G = Generator().to(DEVICE)
    D = Discriminator().to(DEVICE)
    history = train(R, I, G, D)

    # Earth mover's distance: the mean gap between samples and other real ones, both sorted, in
    # standard deviations of R. For real samples it is due to chance.
    other = R(100_000).sort(0).values
    real = R(100_000).sort(0).values
    fake = G(I(100_000)).detach().sort(0).values
    print("\n           mean      std skewness kurtosis distance")
    for name, x in [("real", real), ("fake", fake)]:
        scaled = (x - x.mean()) / x.std()
        skewness = (scaled**3).mean()
        kurtosis = (scaled**4).mean() - 3  # 0 for a bell
        distance = (x - other).abs().mean() / other.std()
        print(f"{name:6}{x.mean():9.3f}{x.std():9.3f}{skewness:9.3f}{kurtosis:9.3f}{distance:9.3f}")
    plot(history, real.cpu().numpy(), fake.cpu().numpy())
    return G


if __name__ == "__main__":
    G = main()
