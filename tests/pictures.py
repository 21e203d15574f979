"""Make the pictures of README.md, in .github.

    python tests/pictures.py                  all but the digits
    python tests/pictures.py collapse sine    those of your choice
    python tests/pictures.py digits FILE      FILE is the mnist.npz that README.md tells of
"""

import contextlib
import io
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from matplotlib.animation import FuncAnimation, PillowWriter  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import changes  # noqa: E402
import gan_1d  # noqa: E402
import test_readme  # noqa: E402
from bench import play  # noqa: E402

GITHUB = ROOT / ".github"


def draw_histograms(ax, real, fake, low, high):
    """Draw both histograms as in the script's own picture."""
    bins = np.linspace(low, high, 60)
    density, _, _ = ax.hist(real.flatten(), bins, density=True, color="C0", alpha=0.5, label="real")
    ax.hist(
        fake.flatten(), bins, density=True, color="C1", linewidth=2, histtype="step", label="fake"
    )
    ax.set(ylim=(0, 1.6 * density.max()), xlim=(low, high))


def draw_d(ax, x, d):
    """Draw D(x), and a dotted line at 1/2."""
    ax.plot(x, d, "black", label="D(x)")
    ax.axhline(0.5, color="black", linewidth=1, linestyle=":")


def legend_above(fig, ax, *others):
    """Put one legend, for all axes given, above the figure, where it covers nothing."""
    handles, labels = [], []
    for one in (ax, *others):
        more_handles, more_labels = one.get_legend_handles_labels()
        handles += more_handles
        labels += more_labels
    fig.legend(handles, labels, loc="outside upper center", ncols=len(labels))


def draw_rows(rows, columns, file):
    """Draw the histograms of rows of changes.py, given as pairs of a title and a change."""
    lines = -(-len(rows) // columns)
    fig, axes = plt.subplots(lines, columns, figsize=(8, 2.1 * lines + 0.4), layout="constrained")
    for ax in axes.flat[len(rows) :]:
        ax.remove()
    for ax, (title, change) in zip(axes.flat, rows):
        G, _, _ = play(change)
        with torch.no_grad():
            real, fake = gan_1d.R(100_000), G(gan_1d.I(100_000))
        low, high = np.quantile(torch.cat([real, fake]), [0.0005, 0.9995])
        draw_histograms(ax, real, fake, low, high)
        ax.set_title(title, fontsize="medium")
        ax.set(yticks=[])
    legend_above(fig, axes.flat[0])
    fig.savefig(GITHUB / file, dpi=100)


# ----- one function for each picture -----


def script():
    play({}, PLOT_FILE=str(GITHUB / "gan_1d.png"))


def animation():
    x = torch.linspace(-1, 9, 200)[:, None]
    _, _, records = play({}, lambda G, D, z: (G(z).flatten(), D(x).sigmoid()))
    real = gan_1d.R(5000)
    fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    right = ax.twinx()

    def draw(step):
        fake, d = records[step]
        ax.clear()
        right.clear()
        draw_histograms(ax, real, fake, -1, 9)
        ax.set(title=f"step {step}", xlabel="x", ylabel="density", ylim=(0, 0.8))
        draw_d(right, x, d)
        right.yaxis.set_label_position("right")
        right.set(ylabel="D(x)", ylim=(0, 1), yticks=[0, 0.5, 1])
        fig.legends.clear()
        legend_above(fig, ax, right)

    early = [step for step in range(1, 60, 2) for _ in range(2)]  # Each is shown for twice as long.
    last = gan_1d.STEPS
    steps = early + [*range(60, 200, 10), *range(200, last, 50)] + [last] * 20
    writer = PillowWriter(fps=8)
    FuncAnimation(fig, draw, steps).save(GITHUB / "gan_1d.gif", writer=writer, dpi=80)


def shape():
    """Histograms with one noise number and with two, and G over the square of the two."""
    fig, axes = plt.subplots(1, 3, figsize=(8, 3), layout="constrained")
    for ax, number in zip(axes, [1, 2]):
        G, _, _ = play({"NOISE_DIM": number})
        real = gan_1d.R(100_000)
        draw_histograms(ax, real, G(gan_1d.I(100_000)).detach(), -0.5, 8.5)
        ax.set(title=f"NOISE_DIM = {number}", xlabel="x", yticks=[])
    z = torch.linspace(-1.5, 1.5, 200)
    square = torch.cartesian_prod(z, z)
    x = G(square).detach().reshape(200, 200)
    normal = statistics.NormalDist(gan_1d.REAL_MEAN, gan_1d.REAL_STD)
    colors = plt.get_cmap("viridis")(np.linspace(0, 1, 10))
    ax = axes[2]
    ax.contourf(z, z, x.T, [-100, *normal.quantiles(10), 100], colors=colors)
    lines = ax.contour(z, z, x.T, normal.quantiles(10), colors="white", linewidths=0.8)
    # The label 3.3 has a place of its own, because the edge would cut it in half.
    ax.clabel(lines, np.delete(lines.levels, 2), fmt="%.1f", fontsize=7)
    ax.clabel(lines, lines.levels[[2]], fmt="%.1f", fontsize=7, manual=[(-0.2, -1.25)])
    hundredths = normal.quantiles(100)
    outermost = [hundredths[0], hundredths[-1]]
    ax.contour(z, z, x.T, outermost, colors=["white", "black"], linestyles="dotted")
    ax.set(title="G with NOISE_DIM = 2", xlabel="first number", ylabel="second number")
    ax.set(aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    legend_above(fig, axes[0])
    fig.savefig(GITHUB / "shape.png", dpi=100)


def experiments():
    rows = changes.PARTS["Predict, then run"]
    draw_rows([(title, rows[title]) for title in rows], 4, "experiments.png")


def failures():
    """The first two do not fail with the script's seed, so they have the first seed that fails."""
    rows = changes.PARTS["What goes wrong"]
    names = {
        "D is too simple": ("D too simple: D_HIDDEN = 2", 2),
        "D ends with a sigmoid": ("a sigmoid at the end of D", 2),
        "G is too fast": ("G too fast: G_LR = 0.1", 0),
        "the loss of G saturates": ("saturating loss, mean 30", 0),
    }
    pairs = [(title, {**rows[name], "SEED": seed}) for title, (name, seed) in names.items()]
    draw_rows(pairs, 2, "failures.png")


def lost_hump():
    """The hump with a tenth of the data, lost and found, and D(x) at the end."""
    rows = changes.PARTS["What goes wrong"]
    x = torch.linspace(-5, 5, 200)[:, None]
    fig, axes = plt.subplots(1, 2, figsize=(8, 2.6), layout="constrained")
    for ax, title, name in [
        (axes[0], "the script's constants", "a hump with a tenth"),
        (axes[1], "D_STEPS = 1", "a hump with a tenth, D_STEPS = 1"),
    ]:
        G, D, _ = play(rows[name])
        fake = G(gan_1d.I(100_000)).detach()
        draw_histograms(ax, gan_1d.R(100_000), fake, -5, 5)
        right = ax.twinx()
        draw_d(right, x, D(x).sigmoid().detach())
        right.set(ylim=(0, 1.1), yticks=[0, 0.5, 1])
        ax.set(title=title, xlabel="x", yticks=[])
    legend_above(fig, axes[0], right)
    fig.savefig(GITHUB / "lost_hump.png", dpi=100)


def collapse():
    x = torch.linspace(-2, 10, 200)[:, None]
    record = lambda G, D, z: (G(z).mean(), D(x).sigmoid())
    _, _, records = play(changes.COLLAPSE, record)
    fig, axes = plt.subplots(1, 3, figsize=(8, 3), layout="constrained")
    axes[0].axhline(4, color="C0", linestyle="--", label="real")
    axes[0].plot(records.keys(), [mean for mean, _ in records.values()], "C1", label="fake")
    axes[0].set(title="Mean of the fakes", xlabel="step")
    density = torch.distributions.Normal(4, 1.25).log_prob(x).exp()
    for ax, step in zip(axes[1:], [20, 40], strict=True):
        mean, d = records[step]
        ax.fill_between(x.flatten(), density.flatten(), color="C0", alpha=0.5)
        ax.axvline(mean, color="C1", linewidth=2)
        draw_d(ax, x, d)
        ax.set(title=f"Step {step}", xlabel="x", ylim=(0, 1))
    legend_above(fig, axes[0], axes[1])
    fig.savefig(GITHUB / "collapse.png", dpi=100)


def make_by_readme(code, file, mnist=None):
    """Run code of README.md, which draws file, in a folder of its own; return where file is."""
    folder = Path(tempfile.mkdtemp())
    if mnist:
        shutil.copy(mnist, folder / "mnist.npz")
    os.chdir(folder)
    with contextlib.redirect_stdout(io.StringIO()):
        test_readme.run(code)
    return folder / file


def sine():
    shutil.copy(make_by_readme(test_readme.block("sine.png"), "sine.png"), GITHUB)


def conditional():
    code = test_readme.block("conditional.png")
    shutil.copy(make_by_readme(code, "conditional.png"), GITHUB)


def digits(mnist):
    programs = [test_readme.digits_program(convolutions) for convolutions in (False, True)]
    files = [make_by_readme(code, "digits.png", mnist) for code in programs]
    fig, axes = plt.subplots(1, 2, figsize=(8, 4.3), layout="constrained")
    for ax, title, file in zip(axes, ["linear layers", "convolutions"], files, strict=True):
        ax.imshow(plt.imread(file))
        ax.set(title=title)
        ax.axis("off")
    fig.savefig(GITHUB / "digits.png", dpi=100)


def main():
    names = sys.argv[1:]
    if names[:1] == ["digits"]:
        digits(Path(names[1]).resolve())
        return
    makers = [
        script, animation, shape, experiments, collapse, lost_hump, failures, sine, conditional]
    by_name = {make.__name__: make for make in makers}
    for name in names or by_name:
        by_name[name]()
        print(f"made: {name}", flush=True)


if __name__ == "__main__":
    main()
