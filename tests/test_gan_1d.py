"""What a user of gan_1d.py relies on, as tests: python -m pytest tests"""
import os
import re
import subprocess
import sys
import traceback
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch.nn.functional import layer_norm, leaky_relu, softplus
from torch.optim.optimizer import register_optimizer_step_post_hook

plt.switch_backend("Agg")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import gan_1d  # noqa: E402

SOURCE = Path(gan_1d.__file__).read_text(encoding="utf-8")
pytestmark = pytest.mark.filterwarnings("error")  # nothing here may warn
N = 100_000  # samples; bounds on random moments are 5 standard errors wide
SHARE = (np.arange(N) + 0.5) / N
FLAT = 3**0.5 * (2 * SHARE - 1)  # the quantiles of a uniform and of a bell, mean 0 and std 1
BELL = torch.special.ndtri(torch.tensor(SHARE)).numpy()


@pytest.fixture(autouse=True)
def change(monkeypatch, tmp_path):
    """Games are short here, on the CPU, in an empty folder. Returns a setter of constants."""
    def setter(**constants):
        for name, value in constants.items():
            monkeypatch.setattr(gan_1d, name, value)

    setter(DEVICE="cpu", STEPS=20, LOG_EVERY=5, BATCH_SIZE=64)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: None)  # where there is a screen, Agg's would warn
    torch.manual_seed(1)
    torch.set_num_threads(1)
    with plt.rc_context():
        yield setter


def numbers(label, text):
    """The numbers on the one line of text that starts with label."""
    line, = [line for line in text.splitlines() if line.startswith(label)]
    return [float(x) for x in re.findall(r"-?\d+\.\d+", line[len(label):])]


def kept(sampler, batches):
    """The sampler, but what it draws is also appended to batches."""
    def draw(n):
        batches.append(sampler(n))
        return batches[-1]
    return draw


def play(**players):
    """Train; return the history and, for each update, its rate and the weights after it."""
    game = dict(R=gan_1d.R, I=gan_1d.I, G=gan_1d.Generator(), D=gan_1d.Discriminator()) | players
    updates = []

    def record(optimizer, *args):
        weights = {who: [p.detach().clone() for p in game[who].parameters()] for who in "GD"}
        updates.append({"rate": optimizer.param_groups[0]["lr"], **weights})

    hook = register_optimizer_step_post_hook(record)
    history = gan_1d.train(**game)
    hook.remove()
    return history, updates


@pytest.mark.parametrize("mean, std", [(4.0, 1.25), (-30, 0.01), (0, 7)])
def test_R_is_a_normal_with_the_mean_and_std_of_the_constants(change, mean, std):
    change(REAL_MEAN=mean, REAL_STD=std)
    z = (gan_1d.R(N).double() - mean) / std
    assert z.shape == (N, 1)
    for power, wanted, variance in (1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96):  # of z**power
        assert abs((z**power).mean() - wanted) < 5 * (variance / N)**0.5


@pytest.mark.parametrize("dim, low, high", [(1, -1.0, 1.0), (2, 5, 9)])
def test_I_is_flat_over_its_range_and_its_numbers_are_independent(change, dim, low, high):
    change(NOISE_DIM=dim, NOISE_RANGE=(low, high))
    u = (gan_1d.I(N) - low) / (high - low)
    assert u.shape == (N, dim) and u.min() >= 0 and u.max() <= 1
    for column in u.T:
        assert (torch.histc(column, 10, 0, 1) - N / 10).abs().max() < 5 * (N * 0.1 * 0.9)**0.5
    lagged = torch.corrcoef(torch.cat([u[1:], u[:-1]], 1).T)  # with the other columns and rows
    assert (lagged - torch.eye(2 * dim)).abs().max() < 5 / N**0.5


def test_G_is_what_the_lesson_says(change):
    change(NOISE_DIM=3, G_HIDDEN=50)
    G, z = gan_1d.Generator(), gan_1d.I(40)
    h = layer_norm(G.hidden2(torch.tanh(G.hidden1(z))), (50,))
    torch.testing.assert_close(G(z), G.out(torch.tanh(h)))
    assert G.hidden1.out_features == G.hidden2.out_features == 50
    assert G.hidden2.bias.min() < -3 and G.hidden2.bias.max() > 3  # PyTorch's own are below 0.15


def test_D_is_what_the_lesson_says(change):
    change(REAL_MEAN=9.0, REAL_STD=0.1, D_HIDDEN=7)
    D, x = gan_1d.Discriminator(), gan_1d.R(50)
    h = leaky_relu(D.hidden1((x - D.mean) / D.std), 0.2)
    torch.testing.assert_close(D(x), D.out(leaky_relu(D.hidden2(h), 0.2)))
    assert D.hidden1.out_features == D.hidden2.out_features == 7
    assert [name for name, _ in D.named_buffers()] == ["mean", "std"]  # and are not trained
    assert [D.mean.item(), D.std.item()] == pytest.approx([9, 0.1], abs=0.005)


def test_samples_and_nets_are_made_on_the_device(change):
    change(DEVICE="meta")  # every build of torch has it: shapes without numbers
    tensors = gan_1d.R(3), gan_1d.I(3), *gan_1d.Generator().parameters()
    assert {x.device.type for x in (*tensors, *gan_1d.Discriminator().parameters())} == {"meta"}


def test_losses_and_their_slopes_are_those_of_the_paper_also_for_a_D_that_is_sure():
    logits = torch.tensor([[0.0, 1, -20, 100, -100], [0, -2, 20, -100, 100]], requires_grad=True)
    real, fake = logits.double()
    # softplus(x) is log(1 + exp(x)), so -log D is softplus(-logit), -log(1 - D) softplus(logit).
    for loss, wanted in (
            (gan_1d.d_loss(*logits), softplus(-real).mean() + softplus(fake).mean()),
            (gan_1d.g_loss(logits[1]), softplus(-fake).mean())):
        assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
        slopes = [torch.autograd.grad(x, logits, retain_graph=True) for x in (loss, wanted)]
        torch.testing.assert_close(*slopes)


# ---- The game, and what is printed and drawn of it ---------------------------------------------

def test_each_turn_changes_all_weights_of_its_player_and_none_of_the_other(change):
    change(D_STEPS=3, STEPS=6)
    _, updates = play()
    turns = ["D", "D", "D", "G"] * 6
    for who, before, after in zip(turns[1:], updates[:-1], updates[1:], strict=True):
        other = "G" if who == "D" else "D"
        assert not any(map(torch.equal, before[who], after[who]))
        assert all(map(torch.equal, before[other], after[other]))


def test_every_update_of_D_gets_fresh_real_samples_and_every_step_fresh_noise(change):
    change(D_STEPS=3, STEPS=6, BATCH_SIZE=17)
    real, noise = [], []
    play(R=kept(gan_1d.R, real), I=kept(gan_1d.I, noise))
    for drawn, count in (real, 6 * 3), (noise, 6):
        samples = torch.cat([x for x in drawn if len(x) == 17])
        assert len(samples) == 17 * count
        assert len(samples.unique()) >= 17 * count - 3  # float32 may repeat, rarely


def test_D_learns_to_tell_real_from_fake(change):
    change(STEPS=150, REAL_MEAN=10, D_LR=1e-2, G_LR=1e-12)  # G stays near 0, far from R
    *_, last = play()[0]
    assert last["d_real"].mean() > 0.9 and last["d_fake"].mean() < 0.1


def test_G_goes_where_D_says_real(change):
    change(STEPS=50, G_LR=1e-2, D_LR=1e-12)
    D = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(D.weight, -1.0)  # the smaller, the more real
    first, *_, last = play(D=D)[0]
    assert -10 < last["mean"] - first["mean"] < -0.1


def test_learning_rates_start_at_the_constants_and_fall_to_near_0_G_s_sooner(change):
    change(STEPS=50, D_STEPS=2, G_LR=3e-3, D_LR=7e-3)
    _, updates = play()
    d1, d, g = np.reshape([update["rate"] for update in updates], (50, 3)).T  # steps: D, D, G
    assert (d1 == d).all() and (d[0], g[0]) == pytest.approx((7e-3, 3e-3))
    assert (np.diff(d) < 0).all() and (np.diff(g) < 0).all()
    assert (g / 3e-3 <= d / 7e-3).all() and g[25] / 3e-3 < 0.6 * d[25] / 7e-3
    assert 0 < d[-1] < 0.2 * 7e-3 and 0 < g[-1]


def test_a_loss_that_is_no_longer_finite_ends_the_program(change):
    change(D_LR=1e30)
    with pytest.raises(SystemExit, match="finite at step [1-9].* D_LR or G_LR"):
        gan_1d.main()
    assert not os.listdir()


@pytest.mark.parametrize("dim, steps, every, looks", [
    (1, 20, 5, [0, 5, 10, 15, 20]), (2, 7, 3, [0, 3, 6, 7]), (1, 3, 100, [0, 3])])
def test_each_look_is_printed_and_kept(change, capsys, dim, steps, every, looks):
    change(STEPS=steps, LOG_EVERY=every)
    noise, G, D = [], torch.nn.Linear(1, dim), torch.nn.Linear(dim, 1)
    history, _ = play(R=lambda n: 4 + torch.randn(n, dim), I=kept(gan_1d.I, noise), G=G, D=D)
    header, goal, *lines = capsys.readouterr().out.splitlines()
    real = history[0]["real"]
    assert len(real) >= 1000 and real.shape == (len(real), dim)
    goals = [2 * np.log(2), np.log(2), 0.5, 0.5, real.mean().item(), real.std().item()]
    assert numbers("  goal", goal) == pytest.approx(goals, abs=6e-4)
    assert header.split()[-4:] == ["D(real)", "D(fake)", "mean", "std"]
    assert [row["step"] for row in history] == looks
    for row, line in zip(history, lines, strict=True):
        fake, d_real, d_fake = row["fake"], row["d_real"], row["d_fake"]
        assert fake.shape == real.shape and torch.equal(row["real"], real)  # always the same
        logits = d_real.logit(), d_fake.logit()
        losses = [gan_1d.d_loss(*logits).item(), gan_1d.g_loss(logits[1]).item()]
        moments = [fake.mean().item(), fake.std().item()]
        values = [row[key] for key in ("d_loss", "g_loss", "mean", "std")]
        assert values == pytest.approx(losses + moments, rel=1e-4)
        wanted = losses + [d_real.mean().item(), d_fake.mean().item()] + moments
        assert numbers(f"{row['step']:6}", line) == pytest.approx(wanted, abs=6e-4)
    torch.testing.assert_close(fake, G(max(noise, key=len)))  # what train() left, at the looks' z
    torch.testing.assert_close((d_real, d_fake), (D(real).sigmoid(), D(fake).sigmoid()))


@pytest.mark.parametrize("real, fake, distance, table", [
    (3 * BELL + 1, 2 * BELL + 1, (2 / np.pi)**0.5 / 3, [(1, 1), (3, 2), (0, 0), (0, 0)]),
    (BELL, FLAT, 0.154, [(0, 0), (1, 1), (0, 0), (0, -1.2)]),
    (-np.log(1 - SHARE), np.log(SHARE), 2, [(1, -1), (1, 1), (2, -2), (6, 6)])])  # exponentials
def test_report_gives_moments_and_the_earth_mover_s_distance(capsys, real, fake, distance, table):
    gan_1d.report(real, fake)
    out = capsys.readouterr().out
    assert re.search("real +fake\n", out)
    assert numbers("Earth mover's distance", out) == pytest.approx([distance], abs=1e-3)
    for label, pair in zip(("mean", "standard deviation", "skewness", "excess kurtosis"), table):
        assert numbers(label, out) == pytest.approx(pair, rel=5e-3, abs=1e-3), label


@pytest.mark.parametrize("fake, wanted", [
    (BELL, ""), (1.05 * BELL, ""), (BELL - 0.04, ""), (BELL + 0.06, "nearly "),
    (0.89 * BELL, "nearly "), (0.87 * BELL, "not "), (BELL + 0.11, "not "), (FLAT, "not "),
    (np.sign(BELL), "not "), (1e-9 * BELL, "not "), (np.nan * BELL, "not ")])
def test_verdict_is_right_for_a_bell_and_for_what_is_none(capsys, fake, wanted):
    gan_1d.report(4 + 1.25 * BELL, 4 + 1.25 * fake)
    out = capsys.readouterr().out
    assert f"\nG has {wanted}learned R." in out and ("README" in out) == (wanted != "")


def test_same_seed_same_numbers_however_often_they_are_printed(change, capsys):
    def run(**constants):
        change(**constants)
        return [*gan_1d.main().parameters()], capsys.readouterr().out

    (weights, out), (again, out_again) = run(SEED=5), run(SEED=5)
    assert all(map(torch.equal, weights, again)) and out == out_again
    again, out_again = run(LOG_EVERY=1)
    assert all(map(torch.equal, weights, again)) and out != out_again
    assert not any(map(torch.equal, weights[-2:], run(SEED=6)[0][-2:]))


def test_R_can_be_replaced_and_table_and_picture_show_it(change, monkeypatch, capsys):
    drawn, noise, axes = [], [], []
    change(R=kept(lambda n: torch.empty(n, 1).exponential_(), drawn), I=kept(gan_1d.I, noise))
    monkeypatch.setattr(plt, "show", lambda: axes.extend(plt.gcf().axes))
    G = gan_1d.main()
    real, fake = (np.sort(x.detach().ravel()) for x in (drawn[-1], G(noise[-1])))
    out = capsys.readouterr().out
    assert numbers("mean ", out) == pytest.approx([real.mean(), fake.mean()], abs=6e-4)
    assert str(Path.cwd() / gan_1d.PLOT_FILE) in out and os.listdir() == [gan_1d.PLOT_FILE]
    mean, std, histogram, d, sorted_samples = axes
    for ax, goal in (mean, real.mean()), (std, real.std()):
        assert list(ax.lines[0].get_xdata()) == [0, 5, 10, 15, 20]
        assert ax.lines[1].get_ydata()[0] == pytest.approx(goal, rel=1e-5)
        assert [line.get_label() for line in ax.lines] == ["fake", "real"]
    last = [np.mean(line.get_ydata()) for line in d.lines]  # the dots on real, on fake samples
    last += [ax.lines[0].get_ydata()[-1] for ax in (mean, std)]
    assert numbers("    20", out)[2:] == pytest.approx(last, abs=6e-4)
    for line, name, x in zip(sorted_samples.lines, ("real", "fake"), (real, fake), strict=True):
        assert line.get_label() == name and np.allclose(line.get_ydata(), x)
    real_top, fake_top = (patch.get_xy()[:, 1].max() for patch in histogram.patches)
    assert 0.8 < real_top < 1.05 and fake_top < 100  # densities, not counts; that of R at 0 is 1
    for ax in mean, std, histogram, sorted_samples:
        assert ax.get_title() and ax.get_xlabel() and ax.get_ylabel() and ax.get_legend()


# ---- The constants, and where people run it ----------------------------------------------------

BAD = {
    "REAL_MEAN": [np.inf, np.nan], "REAL_STD": [0, "1", np.inf], "NOISE_DIM": [0, 1.5],
    "NOISE_RANGE": [(0,), (1, -1), (0, np.inf), (np.nan, 1), (0, 1, 2)],
    "G_HIDDEN": [0, "32"], "D_HIDDEN": [0, 32.0], "BATCH_SIZE": [0], "STEPS": [0, 1e3],
    "D_STEPS": [0], "G_LR": [-1e-3, np.nan], "D_LR": ["fast", np.inf],
    "BETAS": [(0.9,), (1.0, 0.9), (-0.1, 0.9), (0.0, np.nan)], "SEED": ["one", 2**64],
    "LOG_EVERY": [0], "PLOT_FILE": ["", "gan_1d", "gan_1d.xyz", "missing/gan_1d.png"],
    "DEVICE": ["gpu", "cuda:99", 1.5]}
GOOD = [("REAL_MEAN", 0), ("REAL_STD", np.float64(3)), ("NOISE_DIM", 5), ("NOISE_RANGE", [0, 1]),
        ("G_HIDDEN", 1), ("BATCH_SIZE", 1), ("G_LR", 1), ("BETAS", (0.9, 0.999)), ("SEED", 2**40),
        ("LOG_EVERY", 10**6), ("PLOT_FILE", "a b.pdf"), ("PLOT_FILE", Path("x.svg"))]


@pytest.mark.parametrize("name, value", [(name, value) for name in BAD for value in BAD[name]])
def test_a_bad_constant_is_named_before_anything_is_trained(change, name, value):
    Path("gan_1d.png").write_text("of an earlier run")
    change(**{name: value}, train=None)  # so that training fails without that name
    with pytest.raises(BaseException) as stop:
        gan_1d.main()
    if name in ("SEED", "DEVICE"):  # These PyTorch refuses, on a line that names them.
        assert name in "".join(traceback.format_exception(stop.value))
    else:
        assert str(stop.value).startswith(f"{name} = {value!r} cannot work")
    assert os.listdir() == ["gan_1d.png"] and Path("gan_1d.png").read_text() == "of an earlier run"


@pytest.mark.parametrize("name, value", GOOD)
def test_a_good_constant_works(change, name, value):
    change(STEPS=1, **{name: value})
    gan_1d.main()
    assert os.listdir() == [str(gan_1d.PLOT_FILE)]


def test_constants_are_plain_lines_and_each_has_a_bad_value_above():
    assert re.findall(r"^([A-Z_]+) = \S", SOURCE, re.M) == [*BAD]


def test_program_learns_R_with_its_own_constants_also_without_a_screen(monkeypatch):
    for name in "MPLBACKEND", "DISPLAY", "WAYLAND_DISPLAY", "PYTHONWARNINGS":
        monkeypatch.delenv(name, raising=False)
    if sys.platform != "linux":
        monkeypatch.setenv("MPLBACKEND", "Agg")  # elsewhere a window would open, and wait,
        monkeypatch.setenv("PYTHONWARNINGS", "ignore:FigureCanvasAgg")  # and without it Agg warns
    done = subprocess.run([sys.executable, gan_1d.__file__], capture_output=True, text=True,
                          timeout=600)
    assert (done.returncode, done.stderr) == (0, "") and "G has learned R." in done.stdout
    assert 0 < numbers("Earth mover's distance", done.stdout)[0] <= 0.04  # 40 seeds: 0.032 at most
    assert os.listdir() == [gan_1d.PLOT_FILE]
    image = plt.imread(gan_1d.PLOT_FILE)
    assert 600 <= image.shape[0] < image.shape[1] <= 2400 and image[..., :3].std() > 0.05


def process():
    """What the script must leave as it was: all but PyTorch's seed and threads."""
    return (torch.get_default_dtype(), torch.is_grad_enabled(), plt.get_fignums(),
            plt.rcParams.copy(), sys.argv[:], str(np.random.get_state()))


def test_pasted_into_a_notebook_cell_it_runs_and_leaves_the_kernel_as_it_was(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json"])
    before = process()
    cell = re.sub("^STEPS = .*", "STEPS = 20", SOURCE, flags=re.M)
    exec(compile(cell, "cell", "exec"), {"__name__": "__main__"})
    assert process() == before and os.listdir() == [gan_1d.PLOT_FILE]
    assert "G has not learned R." in capsys.readouterr().out


def test_import_only_defines(capfd):
    torch.set_num_threads(2)
    before = process(), torch.get_rng_state().tolist(), torch.get_num_threads()
    exec(SOURCE, {"__name__": "gan_1d"})
    assert (process(), torch.get_rng_state().tolist(), torch.get_num_threads()) == before
    assert capfd.readouterr() == ("", "") and not os.listdir()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")
def test_all_runs_on_cuda(change):
    change(DEVICE="cuda")
    G = gan_1d.main()
    assert all(p.is_cuda for p in G.parameters()) and os.listdir() == [gan_1d.PLOT_FILE]
