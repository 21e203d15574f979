"""What a user of gan_1d.py relies on, as tests: python -m pytest tests"""
import gc
import math
import os
import re
import runpy
import shutil
import subprocess
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import softplus
from torch.optim.optimizer import register_optimizer_step_post_hook

matplotlib.use("Agg")
SCRIPT = Path(__file__).resolve().parents[1] / "gan_1d.py"
SOURCE = SCRIPT.read_text(encoding="utf-8")
sys.path.insert(0, str(SCRIPT.parent))
import gan_1d  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402

pytestmark = pytest.mark.filterwarnings("error")  # nothing here may warn
N = 100_000
nan, inf = math.nan, math.inf
# The quantiles of a bell: as even as N samples can be, so that only rounding needs a margin.
BELL = torch.special.ndtri((torch.arange(N, dtype=torch.float64) + 0.5) / N).numpy()


@pytest.fixture(autouse=True)
def constants(monkeypatch, tmp_path):
    """Each test is a short game on the CPU in an empty folder. Returns a setter of constants."""
    def change(**new):
        for name, value in new.items():
            monkeypatch.setattr(gan_1d, name, value)

    change(DEVICE="cpu", STEPS=20, LOG_EVERY=5, BATCH_SIZE=64)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(int(os.environ.get("TEST_SEED", 1)))  # random bounds are 5 sigma wide
    torch.set_num_threads(1)
    with plt.rc_context():
        yield change


@pytest.fixture
def panels(monkeypatch):
    """The axes that were saved, by title; that of D(x), which has none, by None."""
    saved, save = {}, plt.Figure.savefig

    def spy(figure, *args, **kwargs):
        saved.update({ax.get_title() or None: ax for ax in figure.axes})
        save(figure, *args, **kwargs)

    monkeypatch.setattr(plt.Figure, "savefig", spy)
    return saved


def numbers(label, text):
    """The numbers on the one line of text that starts with label."""
    line, = [line for line in text.splitlines() if line.startswith(label)]
    return [float(x) for x in re.findall(r"-?\d+\.\d+", line[len(label):])]


def verdict(text):
    """"", "nearly" or "not", from the sentence on whether G has learned R."""
    word, = re.findall(r"^G has (\w* ?)learned R", text, re.M)
    return word.strip()


# ---- R and I -----------------------------------------------------------------------------------

def assert_uniform(u):
    """Kolmogorov-Smirnov: a chance of 2 exp(-2 * 2.75**2) = 5e-7 is above, a grid is below."""
    gaps = u.sort().values - (torch.arange(len(u)) + 0.5) / len(u)
    assert 0.2 < gaps.abs().max().item() * len(u)**0.5 < 2.75


@pytest.mark.parametrize("mean, std", [(4.0, 1.25), (-30, 0.01), (0, 7)])
def test_R_is_a_normal_with_the_mean_and_std_of_the_constants(constants, mean, std):
    constants(REAL_MEAN=mean, REAL_STD=std)
    x = gan_1d.R(N).double()
    assert x.shape == (N, 1)
    assert abs(x.mean() - mean) < 5 * std / N**0.5  # five standard errors of a mean, of a std
    assert abs(x.std() - std) < 5 * std / (2 * N)**0.5
    assert_uniform(torch.special.ndtr((x[:, 0] - mean) / std))


@pytest.mark.parametrize("dim, low, high", [(1, -1.0, 1.0), (2, 5, 9)])
def test_I_is_flat_over_its_range_and_its_numbers_are_independent(constants, dim, low, high):
    constants(NOISE_DIM=dim, NOISE_RANGE=(low, high))
    u = (gan_1d.I(N).double() - low) / (high - low)
    assert u.shape == (N, dim) and u.min() >= 0 and u.max() <= 1
    for column in u.T:
        assert_uniform(column)
    lagged = torch.corrcoef(torch.cat([u[1:], u[:-1]], 1).T)  # with the other columns and rows
    assert (lagged - torch.eye(2 * dim)).abs().max() < 5 / N**0.5


# ---- G, D and the losses -----------------------------------------------------------------------

def test_nets_have_two_hidden_layers_sized_by_the_constants(constants):
    constants(NOISE_DIM=3, G_HIDDEN=5, D_HIDDEN=7)
    for build, sizes in (gan_1d.Generator, [3, 5, 5, 1]), (gan_1d.Discriminator, [1, 7, 7, 1]):
        linear = [m for m in build().modules() if isinstance(m, nn.Linear)]
        assert [linear[0].in_features] + [m.out_features for m in linear] == sizes


def test_nets_compute_what_the_lesson_says(constants):
    constants(REAL_STD=0.1)
    def linear(layer, x):
        return x @ layer.weight.T + layer.bias

    G, z = gan_1d.Generator(), gan_1d.I(50)
    h = linear(G.hidden2, torch.tanh(linear(G.hidden1, z)))
    h = (h - h.mean(1, keepdim=True)) / (h.var(1, unbiased=False, keepdim=True) + 1e-5)**0.5
    torch.testing.assert_close(G(z), linear(G.out, torch.tanh(h)), atol=1e-5, rtol=1e-4)
    assert 3 < G.hidden2.bias.abs().max() <= 4  # wide: PyTorch's own start is below 0.18

    D, x, real = gan_1d.Discriminator(), gan_1d.R(50), gan_1d.R(N)
    h = (x - real.mean()) / real.std()
    for layer in D.hidden1, D.hidden2:
        h = linear(layer, h)
        h = torch.where(h > 0, h, 0.2 * h)
    torch.testing.assert_close(D(x), linear(D.out, h), atol=0.03, rtol=0)  # it has its own sample


def test_samples_and_nets_are_made_on_the_device(constants):
    constants(DEVICE="meta")  # every build of torch has it: shapes without numbers
    tensors = gan_1d.R(3), gan_1d.I(3), *gan_1d.Generator().parameters()
    assert {x.device.type for x in (*tensors, *gan_1d.Discriminator().parameters())} == {"meta"}


def test_losses_are_the_formulas_of_the_paper_also_for_a_D_that_is_sure():
    real, fake = torch.tensor([[0.0, 1, -20, 100, -100], [0, -2, 20, -100, 100]])
    d, g = gan_1d.d_loss(real, fake), gan_1d.g_loss(fake)
    # -log D is log(1 + exp(-logit)), -log(1 - D) is log(1 + exp(logit)), and softplus those.
    wanted = softplus(-real.double()).mean() + softplus(fake.double()).mean()
    assert d.item() == pytest.approx(wanted.item(), rel=1e-6)
    assert g.item() == pytest.approx(softplus(-fake.double()).mean().item(), rel=1e-6)


def test_G_s_loss_has_a_slope_while_D_is_sure_of_the_fakes():
    logit = torch.full((4, 1), -20.0, requires_grad=True)
    gan_1d.g_loss(logit).backward()
    assert logit.grad.sum().item() == pytest.approx(-1, abs=1e-6)  # log(1 - D) has -2e-9


# ---- The game ----------------------------------------------------------------------------------

def play(**players):
    """Train R, I, G and D, the file's own unless given; record all samples, updates and rates."""
    game = SimpleNamespace(R=gan_1d.R, I=gan_1d.I, G=gan_1d.Generator(), D=gan_1d.Discriminator(),
                           states=[], rates=[], drawn={"R": [], "I": []})
    vars(game).update(players)

    def sampler(name):
        def draw(n):
            game.drawn[name].append(getattr(game, name)(n))
            return game.drawn[name][-1]
        return draw

    def record(*args):
        game.states.append({who: [p.detach().clone() for p in getattr(game, who).parameters()]
                            for who in "GD"})

    def updated(optimizer, *args):
        record()
        game.rates.append(optimizer.param_groups[0]["lr"])

    record()
    hook = register_optimizer_step_post_hook(updated)
    game.history = gan_1d.train(sampler("R"), sampler("I"), game.G, game.D)
    hook.remove()
    return game


@pytest.mark.parametrize("d_steps", [1, 3])
def test_each_turn_changes_all_weights_of_its_player_and_none_of_the_other(constants, d_steps):
    constants(D_STEPS=d_steps, STEPS=6)
    states = play().states
    turns = (["D"] * d_steps + ["G"]) * 6
    for who, before, after in zip(turns, states[:-1], states[1:], strict=True):
        other = "GD".replace(who, "")
        assert not any(map(torch.equal, before[who], after[who]))
        assert all(map(torch.equal, before[other], after[other]))


def test_every_update_of_D_gets_fresh_real_samples_and_every_step_fresh_noise(constants):
    constants(D_STEPS=3, STEPS=6, BATCH_SIZE=17)
    drawn = play().drawn
    for name, count in ("R", 6 * 3), ("I", 6):
        batches = [x for x in drawn[name] if len(x) == 17]
        assert len(batches) == count
        assert len(torch.cat(batches).unique()) >= 17 * count - 3  # float32 may repeat, rarely


def test_D_learns_to_tell_real_from_fake(constants):
    constants(STEPS=150, REAL_MEAN=10, D_LR=1e-2, G_LR=1e-12)  # G stays near 0, far from R
    last = play().history[-1]
    assert last["d_real"].mean() > 0.9 and last["d_fake"].mean() < 0.1


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_G_goes_where_D_says_real(constants, side):
    constants(STEPS=50, G_LR=1e-2, D_LR=1e-12)
    D = nn.Linear(1, 1)
    nn.init.constant_(D.weight, side)
    first, *_, last = play(D=D).history
    assert 0.1 < side * (last["mean"] - first["mean"]) < 1000  # and does not explode


def test_learning_rates_start_at_the_constants_and_fall_that_of_G_more_steeply(constants):
    constants(STEPS=50, D_STEPS=2, G_LR=3e-3, D_LR=7e-3)
    again, d, g = np.reshape(play().rates, (50, 3)).T  # a row of the table is a step: D, D, G
    assert (again == d).all() and (d[0], g[0]) == pytest.approx((7e-3, 3e-3))
    assert (np.diff(d) < 0).all() and (np.diff(g) < 0).all()
    assert (g / 3e-3 <= d / 7e-3).all() and g[25] / 3e-3 < 0.6 * d[25] / 7e-3
    assert 0 < d[-1] < 0.2 * 7e-3 and 0 < g[-1]


# ---- What is printed, and the history ----------------------------------------------------------

@pytest.mark.parametrize("steps, every, looks", [
    (20, 5, [0, 5, 10, 15, 20]), (7, 3, [0, 3, 6, 7]), (3, 100, [0, 3])])
def test_a_line_at_the_start_every_LOG_EVERY_steps_and_at_the_end(
        constants, capsys, steps, every, looks):
    constants(STEPS=steps, LOG_EVERY=every)
    history = play().history
    header, goal, *lines = capsys.readouterr().out.splitlines()
    real = history[0]["real"]
    assert numbers("  goal", goal) == pytest.approx(
        [2 * math.log(2), math.log(2), 0.5, 0.5, real.mean().item(), real.std().item()], abs=6e-4)
    assert [row["step"] for row in history] == looks
    for row, line in zip(history, lines, strict=True):
        assert numbers(f"{row['step']:6}", line) == pytest.approx(
            [row["d_loss"], row["g_loss"], row["d_real"].mean().item(),
             row["d_fake"].mean().item(), row["mean"], row["std"]], abs=6e-4)
        assert len(line) == len(header) == len(goal)


@pytest.mark.parametrize("dim", [1, 2])
def test_history_has_all_that_an_animation_needs(dim):
    game = play(R=lambda n: 4 + torch.randn(n, dim), G=nn.Linear(1, dim), D=nn.Linear(dim, 1))
    for row in game.history:
        real, fake, d_real, d_fake = (row[key] for key in ("real", "fake", "d_real", "d_fake"))
        assert len(real) >= 1000 and real.shape == fake.shape == (len(real), dim)
        assert d_real.shape == d_fake.shape == (len(real), 1)
        logits = d_real.double().logit(), d_fake.double().logit()
        assert row["d_loss"] == pytest.approx(gan_1d.d_loss(*logits).item(), rel=1e-3)
        assert row["g_loss"] == pytest.approx(gan_1d.g_loss(logits[1]).item(), rel=1e-3)
        assert [row["mean"], row["std"]] == [fake.mean().item(), fake.std().item()]
        assert torch.equal(real, game.history[0]["real"])  # only the fakes and D move
    noise = max(game.drawn["I"], key=len)
    for a, b in (fake, game.G(noise)), (d_real, game.D(real).sigmoid()), (
            d_fake, game.D(fake).sigmoid()):
        torch.testing.assert_close(a, b.detach())  # the last row is what train() left
    first = game.history[0]
    assert not torch.equal(first["fake"], fake) and not torch.equal(first["d_real"], d_real)


def test_a_loss_that_is_no_longer_finite_ends_the_program(constants):
    constants(D_LR=1e30)
    with pytest.raises(SystemExit, match="finite at step [1-9].* D_LR or G_LR"):
        gan_1d.main()
    assert not os.listdir()


def test_report_measures_moments_and_the_earth_mover_s_distance(capsys):
    rng = np.random.default_rng(1)
    samples = np.sort([rng.exponential(2, N) - 1, rng.normal(0.5, 3, N)])
    gan_1d.report(*samples)
    out = capsys.readouterr().out
    m1, m2, m3, m4 = (np.mean(samples**k, 1) for k in (1, 2, 3, 4))  # raw moments
    var = m2 - m1**2
    table = {"mean": m1, "standard deviation": var**0.5,
             "skewness": (m3 - 3 * m1 * m2 + 2 * m1**3) / var**1.5,
             "excess kurtosis": (m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4) / var**2 - 3}
    for label, pair in table.items():
        assert numbers(label, out) == pytest.approx(pair, abs=6e-4), label  # to 3 digits
    order = samples.ravel().argsort()  # along x: how far apart are the distribution functions?
    gap = np.abs(np.cumsum(np.repeat([1, -1], N)[order])) / N
    distance = (gap[:-1] * np.diff(samples.ravel()[order])).sum() / var[0]**0.5
    assert numbers("Earth mover's distance", out) == pytest.approx([distance], abs=6e-4)


@pytest.mark.parametrize("fake, wanted", [
    (BELL, ""), (1.05 * BELL, ""), (BELL - 0.04, ""), (BELL + 0.06, "nearly"),
    (0.89 * BELL, "nearly"), (0.87 * BELL, "not"), (BELL + 0.11, "not"), (1e-9 * BELL, "not"),
    (3**0.5 * np.linspace(-1, 1, N), "not"), (np.repeat([-1.0, 1.0], N // 2), "not"),
    (nan * BELL, "not")], ids=str)
def test_verdict_is_right_for_a_bell_and_for_what_is_none(capsys, fake, wanted):
    gan_1d.report(4 + 1.25 * BELL, 4 + 1.25 * fake)
    out = capsys.readouterr().out
    assert verdict(out) == wanted and ("README" in out) == (wanted != "")  # where to look for help


# ---- main and the picture ----------------------------------------------------------------------

def test_main_prints_lines_table_verdict_and_picture_and_returns_G(tmp_path, capsys):
    G = gan_1d.main()
    out = capsys.readouterr().out
    parts = ["cpu", "  step ", "  goal ", "\n    20 ", "\nmean ", "\nexcess kurtosis ",
             "\nEarth mover's distance", "\nG has not learned R.",  # in 20 steps it can not
             str(tmp_path / gan_1d.PLOT_FILE)]
    assert sorted(map(out.index, parts)) == list(map(out.index, parts))
    assert G(gan_1d.I(3)).shape == (3, 1) and os.listdir() == [gan_1d.PLOT_FILE]


def test_same_seed_same_numbers_however_often_they_are_printed(constants, monkeypatch, capsys):
    def run(**new):
        constants(**new)
        return [*gan_1d.main().parameters()], capsys.readouterr().out

    monkeypatch.setattr(plt.Figure, "savefig", lambda *args, **kwargs: None)  # for speed
    (weights, out), (again, out_again) = run(SEED=5), run(SEED=5)
    assert all(map(torch.equal, weights, again)) and out == out_again
    again, out_again = run(LOG_EVERY=1)
    assert all(map(torch.equal, weights, again)) and out != out_again
    assert not any(map(torch.equal, weights[-2:], run(SEED=6)[0][-2:]))


def test_R_can_be_replaced(constants, panels, capsys):
    drawn = []
    constants(R=lambda n: (drawn.append(torch.empty(n, 1).exponential_()), drawn[-1])[1])
    gan_1d.main()
    real = np.sort(max(drawn, key=len).double().numpy().ravel())
    assert numbers("mean ", capsys.readouterr().out)[0] == pytest.approx(real.mean(), abs=6e-4)
    for title, goal in ("Mean", real.mean()), ("Standard deviation", real.std()):
        assert panels[title].lines[1].get_ydata()[0] == pytest.approx(goal, rel=1e-5)
    assert np.array_equal(panels["Sorted samples"].lines[0].get_ydata(), real)
    assert 0.8 < panels["Histograms, and what D says"].patches[0].get_xy()[:, 1].max() < 1.05


def check_png(path):
    image = plt.imread(path)
    assert 600 <= image.shape[0] < image.shape[1] <= 2400  # readable, and fits a screen or page
    assert image[..., :3].std() > 0.05  # not blank


def test_picture_has_four_labelled_panels(panels):
    gan_1d.main()
    check_png(gan_1d.PLOT_FILE)
    assert not plt.get_fignums()
    d = panels.pop(None)
    assert len(panels) == 4 and "D(x)" in d.get_ylabel() and d.get_ylim() == (0, 1)
    assert sum(len(line.get_xdata()) for line in d.lines) > 2000
    for ax in panels.values():
        names = [text.get_text() for text in ax.get_legend().get_texts()]
        assert sorted(names) == ["fake", "real"] and ax.get_xlabel() and ax.get_ylabel()
    for title in "Mean", "Standard deviation":
        assert list(panels[title].lines[0].get_xdata()) == [0, 5, 10, 15, 20]
    for line in panels["Sorted samples"].lines:
        assert (np.diff(line.get_ydata()) >= 0).all() and len(line.get_ydata()) == N


# ---- Constants ---------------------------------------------------------------------------------

BAD = {
    "REAL_MEAN": [None, "4", nan, inf], "REAL_STD": [0, -1.0, "1", nan, inf], "NOISE_DIM": [0, 1.5],
    "NOISE_RANGE": [None, (0,), (1, -1), ("0", "1"), (0, inf), (nan, 1), (0, 1, 2)],
    "G_HIDDEN": [0, "32"], "D_HIDDEN": [-1, 32.0], "BATCH_SIZE": [0], "STEPS": [0, 1e3],
    "D_STEPS": [0, None], "G_LR": [0, -1e-3, "fast", nan], "D_LR": [0.0, inf],
    "BETAS": [None, (0.9,), (1.0, 0.9), (-0.1, 0.9), ("0", "1"), (0.0, nan), (0.0, 0.5, 0.9)],
    "SEED": [None, "one", 2**64, nan], "LOG_EVERY": [0],
    "PLOT_FILE": [None, 5, "", "gan_1d", "gan_1d.xyz", ".png", "missing/gan_1d.png"],
    "DEVICE": ["", "gpu", "cuda:99", 1.5],
}
GOOD = [("REAL_MEAN", 0), ("REAL_MEAN", np.float64(-3)), ("REAL_STD", 3), ("NOISE_RANGE", [0, 1]),
        ("BETAS", (0.9, 0.999)), ("G_LR", 1), ("BATCH_SIZE", 1), ("LOG_EVERY", 10**6),
        ("SEED", 2**40), ("DEVICE", torch.device("cpu")), ("NOISE_DIM", 5), ("G_HIDDEN", 1)]


@pytest.mark.parametrize("name, value", [(name, value) for name in BAD for value in BAD[name]])
def test_a_bad_constant_is_named_before_anything_is_trained(constants, name, value):
    Path("gan_1d.png").write_text("of an earlier run")
    constants(**{name: value})
    updates = []
    hook = register_optimizer_step_post_hook(lambda *args: updates.append(args))
    with pytest.raises((SystemExit, Exception)) as stop:  # of ours, or PyTorch's own
        gan_1d.main()
    hook.remove()
    assert not updates and name in "".join(traceback.format_exception(stop.value))
    assert os.listdir() == ["gan_1d.png"] and Path("gan_1d.png").read_text() == "of an earlier run"


@pytest.mark.parametrize("name, value", GOOD)
def test_a_good_constant_works(constants, monkeypatch, name, value):
    monkeypatch.setattr(plt.Figure, "savefig", lambda *args, **kwargs: None)  # for speed
    constants(STEPS=1, **{name: value})
    gan_1d.main()


@pytest.mark.parametrize("name, start", [("a b.pdf", b"%PDF-"), (Path("sub/x.svg"), b"<?xml")])
def test_suffix_of_PLOT_FILE_chooses_the_format(constants, name, start):
    os.mkdir("sub")
    constants(PLOT_FILE=name, STEPS=1)
    gan_1d.main()
    assert Path(name).read_bytes().startswith(start)


def test_constants_are_plain_lines_and_each_is_checked():
    assert re.findall(r"^([A-Z_]+) = \S", SOURCE, re.M) == [*BAD]


# ---- Where people run it -----------------------------------------------------------------------

def test_program_learns_R_with_its_own_constants_also_without_a_screen(tmp_path):
    drop = "MPLBACKEND", "DISPLAY", "WAYLAND_DISPLAY", "PYTHONWARNINGS"
    env = {k: v for k, v in os.environ.items() if k not in drop}
    if sys.platform != "linux":
        env["MPLBACKEND"] = "Agg"  # elsewhere a window would open, and wait
    os.mkdir("empty")
    done = subprocess.run([sys.executable, shutil.copy(SCRIPT, tmp_path)], cwd="empty", env=env,
                          capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, "") and verdict(done.stdout) == ""
    assert 0 < numbers("Earth mover's distance", done.stdout)[0] <= 0.04  # 40 seeds: 0.032 at most
    assert os.listdir("empty") == [gan_1d.PLOT_FILE]
    check_png(tmp_path / "empty" / gan_1d.PLOT_FILE)


def process():
    """What the script must leave as it was."""
    return (gc.isenabled(), gc.get_freeze_count(), torch.get_default_dtype(), plt.get_fignums(),
            torch.is_grad_enabled(), dict(plt.rcParams), sys.argv, str(np.random.get_state()))


def test_pasted_into_a_notebook_cell_it_runs_and_leaves_the_kernel_as_it_was(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json"])
    before = process()
    cell = re.sub("^STEPS = .*", "STEPS = 20", SOURCE, flags=re.M)
    exec(compile(cell, "cell", "exec"), {"__name__": "__main__"})
    assert process() == before and os.listdir() == [gan_1d.PLOT_FILE]
    assert verdict(capsys.readouterr().out) == "not"


def test_import_only_defines(capfd):
    before = process(), torch.get_rng_state().tolist(), torch.get_num_threads()
    assert "main" in runpy.run_path(str(SCRIPT), run_name="imported")
    assert (process(), torch.get_rng_state().tolist(), torch.get_num_threads()) == before
    assert capfd.readouterr() == ("", "") and not os.listdir()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")
def test_all_runs_on_cuda(constants, capsys):
    constants(DEVICE="cuda")
    assert not any(row[k].is_cuda for row in play().history for k in ("real", "fake", "d_fake"))
    G = gan_1d.main()
    assert all(p.is_cuda for p in G.parameters()) and G(gan_1d.I(3)).shape == (3, 1)
    assert verdict(capsys.readouterr().out) == "not" and os.listdir() == [gan_1d.PLOT_FILE]
