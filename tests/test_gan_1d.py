"""What a user of gan_1d.py relies on, as tests: python -m pytest tests"""
import ast
import copy
import io
import math
import os
import random
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tokenize
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook as after_each_update
from torch.optim.optimizer import register_optimizer_step_pre_hook as before_each_update

matplotlib.use("Agg")
SCRIPT = Path(__file__).resolve().parents[1] / "gan_1d.py"
sys.path.insert(0, str(SCRIPT.parent))
import gan_1d  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402

pytestmark = pytest.mark.filterwarnings("error")  # nothing here may warn
TEST_SEED = int(os.environ.get("TEST_SEED", 1))  # any will do: random bounds are 5 sigma wide
LOG_LINE = re.compile(r"^ *(\d+)(?: +-?\d+\.\d+){8}$", re.MULTILINE)
N, ALL_STEPS = 100_000, gan_1d.STEPS
nan, inf = math.nan, math.inf


@pytest.fixture(autouse=True)
def constants(monkeypatch, tmp_path):
    """Each test: a short game on the CPU, in an empty folder. Returns a setter of constants."""
    def change(**new):
        for name, value in new.items():
            monkeypatch.setattr(gan_1d, name, value)

    change(DEVICE="cpu", STEPS=20, LOG_EVERY=5, BATCH_SIZE=64)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(TEST_SEED)
    torch.set_num_threads(1)
    return change


@pytest.fixture
def figures(monkeypatch):
    """The figures that were saved."""
    saved, save = [], plt.Figure.savefig
    monkeypatch.setattr(plt.Figure, "savefig",
                        lambda figure, *a, **k: (saved.append(figure), save(figure, *a, **k)))
    return saved


def same(a, b):
    return len(a) == len(b) and all(map(torch.equal, a, b))


def numbers(label, text):
    """The numbers on the one line of text that starts with label."""
    line, = [line for line in text.splitlines() if line.startswith(label)]
    return [float(x) for x in re.findall(r"-?\d+\.\d+", line[len(label):])]


def distances(text):
    return numbers("earth mover's distance", text)[0], numbers("Kolmogorov-Smirnov, KS", text)[0]


def learned(text):
    """Which of the two verdicts was printed."""
    assert ("has learned" in text) != ("has not learned" in text)
    return "has learned" in text


# ---- R and I -----------------------------------------------------------------------------------

def assert_uniform(u):
    """Kolmogorov-Smirnov: a chance of 2 exp(-2 * 2.75**2) = 5e-7 is above, a grid is below."""
    gaps = u.sort().values - (torch.arange(len(u)) + 0.5) / len(u)
    assert 0.2 < gaps.abs().max().item() * len(u)**0.5 < 2.75


@pytest.mark.parametrize("change", [{}, {"REAL_MEAN": -30, "REAL_STD": 0.01}, {"REAL_STD": 7}])
def test_R_is_a_normal_with_the_mean_and_std_of_the_constants(constants, change):
    constants(**change)
    x, mean, std = gan_1d.R(N).double(), gan_1d.REAL_MEAN, gan_1d.REAL_STD
    assert x.shape == (N, 1)
    assert abs(x.mean() - mean) < 5 * std / N**0.5  # five standard errors of a mean, of a std
    assert abs(x.std() - std) < 5 * std / (2 * N)**0.5
    assert_uniform(torch.special.ndtr((x[:, 0] - mean) / std))


@pytest.mark.parametrize("dim, low, high", [(1, -1.0, 1.0), (3, -1.0, 1.0), (2, 5, 9)])
def test_I_is_flat_over_its_range_and_its_numbers_are_independent(constants, dim, low, high):
    constants(NOISE_DIM=dim, NOISE_RANGE=(low, high))
    z = gan_1d.I(N).double()
    assert z.shape == (N, dim) and z.min() >= low and z.max() <= high
    u = (z - low) / (high - low)
    for column in u.T:  # of a uniform on (0, 1): variance 1/12, fourth central moment 1/80
        assert abs(column.mean() - 1 / 2) < 5 * (1 / 12 / N)**0.5
        assert abs(column.var() - 1 / 12) < 5 * ((1 / 80 - 1 / 144) / N)**0.5
        assert_uniform(column)
    lagged = torch.corrcoef(torch.cat([u[1:], u[:-1]], 1).T)  # with the other columns and rows
    assert (lagged - torch.eye(2 * dim)).abs().max() < 5 / N**0.5


@pytest.mark.parametrize("name", ["R", "I"])
def test_samplers_give_fresh_samples_on_the_device(constants, name):
    draw = getattr(gan_1d, name)
    assert len(torch.cat([draw(50), draw(50)]).unique()) >= 98  # float32 may repeat, rarely
    constants(DEVICE="meta")  # every build of torch has it: shapes without numbers
    assert draw(3).device.type == "meta"


# ---- G and D -----------------------------------------------------------------------------------

@pytest.mark.parametrize("name, dim", [("G", 1), ("G", 2), ("D", 1), ("D", 2)])
def test_nets_have_two_hidden_layers_sized_by_the_constants_and_R(constants, name, dim):
    calls, active = [], nn.Tanh()
    active.register_forward_hook(lambda module, args, out: calls.append(out.shape))
    constants(R=lambda n: torch.randn(n, dim, device=gan_1d.DEVICE), NOISE_DIM=3,
              **{f"{name}_HIDDEN": 7, f"{name}_ACTIVATION": active})
    new = {"G": gan_1d.Generator, "D": gan_1d.Discriminator}[name]
    net, (first, last) = new(), {"G": (3, dim), "D": (dim, 1)}[name]
    layers = [m for m in net.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in layers] == [(first, 7), (7, 7), (7, last)]
    assert net(torch.randn(6, first)).shape == (6, last)
    assert calls == [(6, 7), (6, 7)]
    constants(DEVICE="meta")
    assert {p.device.type for p in new().state_dict().values()} == {"meta"}


def test_D_judges_each_sample_on_its_own():
    D, x = gan_1d.Discriminator(), gan_1d.R(50)
    for training in True, False:
        D.train(training)
        torch.testing.assert_close(D(x), torch.cat([D(x[i:i + 1]) for i in range(50)]))
    assert D(x).std() > 0


@pytest.mark.parametrize("verdict", [-100.0, 100.0])
def test_a_verdict_is_a_logit_without_bounds(verdict):
    D = gan_1d.Discriminator()
    last = [m for m in D.modules() if isinstance(m, nn.Linear)][-1]
    nn.init.constant_(last.bias, verdict)
    nn.init.zeros_(last.weight)
    assert (D(gan_1d.R(10)) == verdict).all()


# ---- Losses ------------------------------------------------------------------------------------

@pytest.mark.parametrize("scale", [0, 1, 3])  # 0: D is undecided, and d_loss 2 ln 2, g_loss ln 2
def test_losses_are_the_formulas_of_the_paper(scale):
    logits = scale * torch.randn(2, 1000, 1)
    real, fake = 1 / (1 + np.exp(-logits.double().numpy()))  # D(x), D(G(z))
    d, g = -np.log(real).mean() - np.log(1 - fake).mean(), -np.log(fake).mean()
    if scale == 0:
        assert (d, g) == pytest.approx((2 * math.log(2), math.log(2)))
    assert gan_1d.d_loss(*logits).item() == pytest.approx(d, rel=1e-5)  # float32
    assert gan_1d.g_loss(logits[1]).item() == pytest.approx(g, rel=1e-5)


@pytest.mark.parametrize("real", [-100.0, -20.0, 100.0])
@pytest.mark.parametrize("fake", [-100.0, -20.0, 100.0])
def test_losses_and_their_slopes_are_right_for_a_sure_D(real, fake):
    real, fake = (torch.full((4, 1), x, requires_grad=True) for x in (real, fake))
    d, g = gan_1d.d_loss(real, fake), gan_1d.g_loss(fake)
    # -log sigmoid(x) is nearly max(-x, 0), its slope sigmoid(x) - 1. Of g_loss at -20 that is -1,
    # so G learns even when D is sure; the loss that saturates has a slope of -2e-9 there
    assert d.item() == pytest.approx((-real).clamp(0)[0].item() + fake.clamp(0)[0].item(), abs=1e-6)
    assert g.item() == pytest.approx((-fake).clamp(0)[0].item(), abs=1e-6)
    slopes = *torch.autograd.grad(d, [real, fake]), *torch.autograd.grad(g, [fake])
    for slope, wanted in zip(slopes, (real.sigmoid() - 1, fake.sigmoid(), fake.sigmoid() - 1)):
        torch.testing.assert_close(slope, wanted.detach() / 4, atol=1e-7, rtol=1e-6)


# ---- The game ----------------------------------------------------------------------------------

class Game:
    """A game of train(), with every draw and every update on record, in order.

    draws: (name, samples, number of updates before it); updates: who, lr, and G and D before and
    after, each with state (weights and buffers) and grads (zeros for None).
    """

    def __init__(self, G=None, D=None, stop_after=None):
        self.G, self.D = G or gan_1d.Generator(), D or gan_1d.Discriminator()
        self.draws, self.updates, self.start, self.stop_after = [], [], self.snapshot(), stop_after
        hooks = before_each_update(self.before), after_each_update(self.after)
        try:
            self.history = gan_1d.train(lambda n: self.draw("R", n), lambda n: self.draw("I", n),
                                        self.G, self.D)
        except KeyboardInterrupt:
            pytest.fail("train() let Ctrl-C through")  # pytest would take it for its own
        finally:
            for hook in hooks:
                hook.remove()
        self.noise, = [x for name, x, when in self.draws
                       if name == "I" and len(x) != gan_1d.BATCH_SIZE]  # of the looks

    def draw(self, name, n):
        if len(self.updates) == self.stop_after and n == gan_1d.BATCH_SIZE:
            self.stop_after = None
            raise KeyboardInterrupt
        self.draws.append((name, getattr(gan_1d, name)(n), len(self.updates)))
        return self.draws[-1][1]

    def snapshot(self):
        return {name: SimpleNamespace(
            state={k: v.clone() for k, v in net.state_dict().items()},
            grads=[torch.zeros_like(p) if p.grad is None else p.grad.clone()
                   for p in net.parameters()]) for name, net in (("G", self.G), ("D", self.D))}

    def before(self, optimizer, args, kwargs):
        self.pending = self.snapshot(), optimizer.param_groups[0]["lr"]

    def after(self, optimizer, args, kwargs):
        updated = {id(p) for group in optimizer.param_groups for p in group["params"]}
        who, = [name for name in "GD" if updated == {id(p) for p in
                                                     getattr(self, name).parameters()}]
        before, lr = self.pending
        self.updates.append(SimpleNamespace(who=who, lr=lr, before=before, after=self.snapshot()))


@pytest.mark.parametrize("d_steps", [1, 3])
def test_each_player_changes_only_itself(constants, d_steps):
    constants(D_STEPS=d_steps, STEPS=6)
    game = Game()
    assert [update.who for update in game.updates] == (["D"] * d_steps + ["G"]) * 6
    last = game.start
    for update in game.updates:
        me, other = (who := update.who), "GD".replace(update.who, "")
        for name, _ in getattr(game, me).named_parameters():
            assert not torch.equal(update.after[me].state[name], last[me].state[name]), (who, name)
        assert same(update.after[other].state.values(), last[other].state.values())
        grads = update.after[other].grads  # as its own update left them, or cleared
        assert same(grads, last[other].grads) or not any(g.any() for g in grads)
        last = update.after


@pytest.mark.parametrize("d_steps", [1, 3])
def test_every_update_of_D_gets_fresh_real_samples_and_every_step_fresh_noise(constants, d_steps):
    constants(D_STEPS=d_steps, STEPS=6, BATCH_SIZE=17)
    draws = Game().draws
    batches = {name: [x for who, x, _ in draws if who == name and len(x) == 17] for name in "RI"}
    assert len(batches["R"]) == 6 * d_steps
    assert len(batches["I"]) == 6  # G does not change while D learns, so one batch serves a step
    for x in map(torch.cat, batches.values()):
        assert len(x.unique()) >= len(x) - 3  # float32 may repeat, rarely
    # drawn when needed, not ahead: a batch of R for each update of D, one of I before the first
    updates = range(6 * d_steps + 6)
    for name, needed in ("R", range(d_steps)), ("I", range(1)):
        drawn_at = [when for who, x, when in draws if who == name and len(x) == 17]
        assert drawn_at == [k for k in updates if k % (d_steps + 1) in needed]
    assert [(who, when) for who, x, when in draws if len(x) != 17] == [("R", 0), ("I", 0)]


def test_D_learns_to_tell_real_from_fake(constants):
    constants(STEPS=150, REAL_MEAN=10, D_LR=1e-2, G_LR=1e-12)  # G stays near 0, far from R
    last = Game().history[-1]
    assert last["d_real"].mean() > 0.9 and last["d_fake"].mean() < 0.1


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_G_goes_where_D_says_real(constants, side):
    constants(STEPS=50, G_LR=1e-2, D_LR=1e-12)
    D = nn.Linear(1, 1)
    nn.init.constant_(D.weight, side)
    first, *_, last = Game(D=D).history
    assert 0.1 < side * (last["fake"] - first["fake"]).mean() < 1000  # and does not explode


def test_learning_rates_start_at_the_constants_and_fall(constants):
    constants(STEPS=50, D_STEPS=2, G_LR=3e-3, D_LR=7e-3)
    updates = Game().updates
    for name, start, per_turn in ("G", 3e-3, 1), ("D", 7e-3, 2):
        rates = np.reshape([u.lr for u in updates if u.who == name], (50, per_turn))
        assert rates[0, 0] == pytest.approx(start, rel=1e-9)
        assert (rates == rates[:, :1]).all() and (np.diff(rates[:, 0]) < 0).all()
        assert 0 < rates[-1, 0] < start / 4


@pytest.mark.parametrize("batchnorm, turns", [(False, 20), (True, 20), (False, 7)])
def test_G_is_shown_and_ends_as_its_updates_left_it_also_after_ctrl_c(constants, batchnorm, turns):
    constants(D_STEPS=1, G_LR=0.02)
    net = nn.Sequential(nn.Linear(1, 8, bias=False), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))
    game = Game(G=net if batchnorm else None, stop_after=2 * turns)
    states = [update.after["G"].state for update in game.updates if update.who == "G"]
    assert len(states) == turns
    looks, shown = {row["step"]: row["fake"] for row in game.history}, copy.deepcopy(game.G)
    for step, state in enumerate([game.start["G"].state, *states]):
        if step in looks:
            shown.load_state_dict(state)
            torch.testing.assert_close(looks[step], shown(game.noise))
    assert [step for step in looks if step % 5 == 0] == list(range(0, turns + 1, 5))
    final = game.G.state_dict()
    assert all(torch.equal(final[k], v) for k, v in states[-1].items())
    assert not any(module.training for module in game.G.modules())
    if batchnorm:  # it learned from the batches of the game, one a turn, not from the looks
        assert final["1.num_batches_tracked"] == turns
        assert not torch.equal(final["1.running_mean"], game.start["G"].state["1.running_mean"])


# ---- The history and what is printed -----------------------------------------------------------

@pytest.mark.parametrize("steps, every, looks", [
    (20, 5, [0, 5, 10, 15, 20]), (7, 3, [0, 3, 6, 7]), (1, 1, [0, 1]), (3, 100, [0, 3])])
def test_a_look_at_the_start_every_LOG_EVERY_steps_and_at_the_end(
        constants, capsys, steps, every, looks):
    constants(STEPS=steps, LOG_EVERY=every)
    history, out = Game().history, capsys.readouterr().out.splitlines()
    lines = [line for line in out if LOG_LINE.match(line)]
    header = out[out.index(lines[0]) - 1]
    assert header.split()[0] == "step" and {len(line) for line in lines} == {len(header)}
    assert [row["step"] for row in history] == [int(line.split()[0]) for line in lines] == looks
    for row, line in zip(history, lines):
        moments = [f(row[k]).item() for f in (torch.mean, torch.std) for k in ("fake", "real")]
        assert list(map(float, line.split()[1:])) == pytest.approx([
            row["d_loss"], row["g_loss"], row["d_real"].mean().item(),
            row["d_fake"].mean().item(), *moments], abs=6e-4)  # printed to 3 digits


@pytest.mark.parametrize("dim", [1, 2])
def test_history_has_all_that_an_animation_needs(constants, dim):
    constants(R=lambda n: 4 + torch.randn(n, dim))
    game = Game()
    for row in game.history:
        assert row.keys() == {"step", "real", "fake", "d_loss", "g_loss", "d_real", "d_fake"}
        real, fake, d_real, d_fake = (row[k] for k in ("real", "fake", "d_real", "d_fake"))
        assert len(real) >= 1000 and real.shape == fake.shape == (len(real), dim)
        assert d_real.shape == d_fake.shape == (len(real),)
        assert not any(x.requires_grad or x.is_cuda for x in (real, fake, d_real, d_fake))
        d = -(d_real.double().log() + (1 - d_fake.double()).log()).mean().item()
        g = -d_fake.double().log().mean().item()
        assert (row["d_loss"], row["g_loss"]) == pytest.approx((d, g), rel=1e-3)  # of rounded D(x)
        assert torch.equal(real, game.history[0]["real"])  # only the fakes and D move
    for a, b in zip(game.history, game.history[1:]):
        assert not torch.equal(a["fake"], b["fake"]) and not torch.equal(a["d_real"], b["d_real"])
    torch.testing.assert_close(fake, game.G(game.noise))  # the last frame shows what train() left
    torch.testing.assert_close(d_real, game.D(real).sigmoid()[:, 0])
    torch.testing.assert_close(d_fake, game.D(fake).sigmoid()[:, 0])


def test_main_prints_log_table_verdict_and_picture_and_returns_G(tmp_path, capsys):
    G = gan_1d.main()
    out = capsys.readouterr().out
    assert G(gan_1d.I(3)).shape == (3, 1) and not G.training
    parts = ["  step ", "\n    20 ", "\nmean ", "\nstandard deviation ", "KS ",
             "G has not learned",  # in 20 steps it can not
             str(tmp_path / gan_1d.PLOT_FILE)]
    assert sorted(map(out.index, parts)) == list(map(out.index, parts))
    assert len(LOG_LINE.findall(out)) == 5 and os.listdir() == [gan_1d.PLOT_FILE]


# ---- report ------------------------------------------------------------------------------------

# a bell's quantiles: as even as N samples can be, so that only rounding needs a margin
BELL = torch.special.ndtri((torch.arange(N, dtype=torch.float64) + 0.5) / N).numpy()


def test_report_measures_moments_and_distances(capsys):
    rng = np.random.default_rng(TEST_SEED)
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
    order = samples.ravel().argsort()  # along x: how much further is one distribution function?
    gap = np.abs(np.cumsum(np.repeat([1, -1], N)[order])) / N
    w1 = (gap[:-1] * np.diff(samples.ravel()[order])).sum() / var[0]**0.5
    assert distances(out) == pytest.approx((w1, gap.max()), abs=6e-4)


@pytest.mark.parametrize("shift", [-0.5, 0.25])
def test_report_of_a_shifted_bell_is_the_shift(capsys, shift):
    gan_1d.report(4 + 2 * BELL, 4 + 2 * (BELL + shift))  # shifted by that many stds of R
    out = capsys.readouterr().out
    ks = math.erf(abs(shift) / 2 / 2**0.5)  # the gap is widest midway: 2 Phi(shift / 2) - 1
    assert distances(out) == pytest.approx((abs(shift), ks), abs=6e-4) and not learned(out)


def test_report_calls_a_sample_of_the_same_bell_learned_and_no_other_shape(capsys):
    gan_1d.report(*np.sort(np.random.default_rng(TEST_SEED).normal(4, 1.25, (2, N))))
    out = capsys.readouterr().out
    assert learned(out) and 0.2 < distances(out)[1] * (N / 2)**0.5 < 2.75  # as in assert_uniform
    # with the right mean and std: a uniform, two spikes; with the right mean: a single spike
    for other in 3**0.5 * np.linspace(-1, 1, N), np.repeat([-1.0, 1.0], N // 2), np.zeros(N):
        gan_1d.report(4 + 1.25 * BELL, 4 + 1.25 * other)
        assert not learned(capsys.readouterr().out)


@pytest.mark.parametrize("change, advice", [
    ({}, "STEPS = 40"), ({"D_HIDDEN": 2}, "D_HIDDEN = 32"), ({"G_HIDDEN": 2}, "G_HIDDEN = 32"),
    ({"G_LR": 1e-4}, "G_LR = 0.0075"), ({"D_LR": 7e-4}, "D_LR = 0.02"),
    ({"BETAS": (0.9, 0.999)}, "BETAS = (0.0, 0.8)")])
def test_report_advises_a_change_of_the_constant_that_looks_wrong(
        constants, capsys, change, advice):
    constants(**change)
    gan_1d.report(BELL, BELL + 1)
    assert capsys.readouterr().out.endswith(f"Try {advice} first.\n")


# ---- main --------------------------------------------------------------------------------------

def test_same_seed_same_numbers_however_often_they_are_printed(constants, monkeypatch, capsys):
    def run(**new):
        constants(**new)
        weights = list(gan_1d.main().state_dict().values())
        return weights, re.sub(r"[\d.]+ seconds", "", capsys.readouterr().out)

    monkeypatch.setattr(plt.Figure, "savefig", lambda *args, **kwargs: None)  # for speed
    (weights, out), (weights_again, out_again) = run(SEED=5), run(SEED=5)
    assert same(weights, weights_again) and out == out_again
    for every in 1, 1000:
        weights_again, out_again = run(LOG_EVERY=every)
        assert same(weights, weights_again) and out != out_again
    assert not any(map(torch.equal, weights[-2:], run(SEED=6)[0][-2:]))


def test_a_loss_that_is_no_longer_finite_ends_the_program(constants, capsys):
    constants(D_LR=1e30)
    with pytest.raises(SystemExit) as stop:
        gan_1d.main()
    assert stop.value.code not in (None, 0)  # a sentence: it goes to stderr, and exit code 1
    text = str(stop.value.code) + capsys.readouterr().err
    assert 0 < int(re.search(r"(?i)step (\d+)", text)[1]) <= 20 and not os.listdir()


def test_R_can_be_replaced(constants, figures, capsys):
    drawn = []
    constants(R=lambda n: (drawn.append(torch.empty(n, 1).exponential_()), drawn[-1])[1])
    gan_1d.main()
    real = max(drawn, key=len).double().numpy().ravel()
    assert numbers("mean ", capsys.readouterr().out)[0] == pytest.approx(real.mean(), abs=6e-4)
    axes = {ax.get_title(): ax for ax in figures[0].axes}
    for word, wanted in ("mean", real.mean()), ("standard deviation", real.std()):
        ax, = [ax for title, ax in axes.items() if word in title]
        line, = [line for line in ax.lines if line.get_label() == "real"]
        assert line.get_ydata()[0] == pytest.approx(wanted, rel=1e-5)
    ax, = [ax for title, ax in axes.items() if "istogram" in title]
    bars, = [c.patches for c in ax.containers if "real" in (c.get_label(), c[0].get_label())]
    edges = [bar.get_x() for bar in bars] + [bars[-1].get_x() + bars[-1].get_width()]
    wanted = np.histogram(real, edges, density=True)[0]  # but for samples on an edge
    assert [bar.get_height() for bar in bars] == pytest.approx(wanted, rel=0.01, abs=0.01)


# ---- The picture -------------------------------------------------------------------------------

def check_png(path):
    image = plt.imread(path)
    assert 600 <= image.shape[0] < image.shape[1] <= 2400  # readable, and fits a screen or page
    assert image[..., :3].std() > 0.05  # not blank


def test_picture_has_four_labelled_panels(figures):
    gan_1d.main()
    assert os.listdir() == [gan_1d.PLOT_FILE] and not plt.get_fignums()
    check_png(gan_1d.PLOT_FILE)
    panels = [ax for ax in figures[0].axes if ax.get_title()]
    assert len({ax.get_title() for ax in panels}) == 4
    assert all(ax.get_ylabel() for ax in figures[0].axes)  # also that of D(x), at the right
    for ax in panels:
        names = {text.get_text() for text in ax.get_legend().get_texts()}
        assert ax.get_xlabel() and "fake" in names and len(names) >= 2
    lines = [line for ax in panels if ax.get_xlabel() == "step" for line in ax.lines]
    steps = [list(line.get_xdata()) for line in lines if line.get_label() == "fake"]
    assert steps == [[0, 5, 10, 15, 20]] * 2


@pytest.mark.parametrize("name, start", [
    ("a b.PDF", b"%PDF-"), ("sub/picture.svg", b"<?xml"), ("x.jpg", b"\xff\xd8\xff")])
def test_suffix_of_PLOT_FILE_chooses_the_format(constants, name, start):
    os.mkdir("sub")
    constants(PLOT_FILE=name, STEPS=1)
    gan_1d.main()
    assert Path(name).read_bytes().startswith(start)


# ---- Constants ---------------------------------------------------------------------------------

ODD = [None, "1", True, [1], 1j, nan, inf, -inf]
WHOLE = [*ODD, 0, -1, 1.5, 2.0, 10**30]
PAIR = [None, 1, "01", (), (0,), (0, 0.5, 0.9), (False, True), ("0", "1"), (nan, 0.9), (0, nan),
        (-inf, 0.5), (0, inf), (None, 0.9), (0, 1e300)]
BAD = {
    "REAL_MEAN": [*ODD, 1e30, -1e30], "REAL_STD": [*ODD, 0, -1.0, 1e30, 1e-30],
    "NOISE_DIM": WHOLE, "NOISE_RANGE": [*PAIR, (1, -1), (1, 1)],
    "G_HIDDEN": WHOLE, "D_HIDDEN": WHOLE,
    "G_ACTIVATION": [None, "tanh", True, 0, nn.Tanh, nn.PReLU(), nn.Linear(3, 3), nn.Flatten(0)],
    "D_ACTIVATION": [None, "relu", True, 1.0, nn.ReLU, nn.PReLU(), nn.Linear(4, 2), torch.sum],
    "BATCH_SIZE": WHOLE, "STEPS": WHOLE, "D_STEPS": WHOLE, "LOG_EVERY": WHOLE, "THREADS": WHOLE,
    "G_LR": [*ODD, 0, -1e-3, 10**400], "D_LR": [*ODD, 0.0, -1, 10**400],
    "BETAS": [*PAIR, (-0.1, 0.9), (0.9, -0.1), (1.0, 0.9), (0.9, 1)],
    "SEED": [*ODD, -1, 1.5, 2**64],
    "PLOT_FILE": [None, True, 5, "", ".", "gan_1d", "gan_1d.", "gan_1d.xyz", ".png", b"gan_1d.png",
                  "missing/gan_1d.png", "folder.png", "folder.png/"],
    "DEVICE": [None, "", "gpu", "cuda:99", 1.5, True, -1, "meta", nan],
}
GOOD = {
    "REAL_MEAN": [0, -7.5, np.float64(3)], "REAL_STD": [0.1, 3], "NOISE_DIM": [2, 100],
    "NOISE_RANGE": [(0, 1), [-3.0, 0.5]], "G_HIDDEN": [1, 100], "D_HIDDEN": [1, 100],
    "G_ACTIVATION": [nn.Tanh(), nn.ELU(), nn.ReLU(inplace=True)], "D_ACTIVATION": [nn.ReLU()],
    "BATCH_SIZE": [1, 4096], "STEPS": [1, 100_000], "D_STEPS": [2, 5], "LOG_EVERY": [1, 10**6],
    "THREADS": [1, 2], "G_LR": [1e-6, 0.5, 1], "D_LR": [1e-6, 0.5, 1],
    "BETAS": [(0.9, 0.999), (0, 0), [0.5, 0.9]],
    "SEED": [0, 1, 2**40], "DEVICE": ["cpu", torch.device("cpu")],
    "PLOT_FILE": ["x.pdf", "X.PNG", "folder.png/x.svg", "./x.jpg", os.path.abspath("x.png")],
}


def each(table):
    return pytest.mark.parametrize("name, value", [
        pytest.param(name, value, id=f"{name}={value!r}"[:50])
        for name in table for value in table[name]])


@each(BAD)
def test_a_bad_constant_is_named_before_anything_is_done(constants, capsys, name, value):
    Path("gan_1d.png").write_text("of an earlier run")
    os.mkdir("folder.png")
    constants(**{name: value})
    with pytest.raises(SystemExit) as stop:
        gan_1d.main()
    out, err = capsys.readouterr()
    assert (stop.value.code, out) == (2, "")
    assert f"{name} = {value!r}" in err and err.count("\n") == 1 and err.endswith("\n")
    assert sorted(os.listdir()) == ["folder.png", "gan_1d.png"]
    assert Path("gan_1d.png").read_text() == "of an earlier run"


@each(GOOD)
def test_a_good_constant_is_accepted(constants, capsys, name, value):
    os.mkdir("folder.png")
    constants(**{name: value})
    gan_1d.check_constants()
    assert capsys.readouterr() == ("", "") and os.listdir() == ["folder.png"]


# ---- The program -------------------------------------------------------------------------------

def command(tmp_path, *arguments):
    """For subprocess: a copy of gan_1d.py, run in an empty folder by a user without a screen."""
    drop = "MPLBACKEND", "DISPLAY", "WAYLAND_DISPLAY", "PYTHONUNBUFFERED", "PYTHONWARNINGS"
    env = {k: v for k, v in os.environ.items() if k not in drop}
    if sys.platform != "linux":
        env["MPLBACKEND"] = "Agg"  # elsewhere a window would open, and wait
    os.mkdir("empty")
    return dict(args=[sys.executable, shutil.copy(SCRIPT, tmp_path), *arguments], cwd="empty",
                env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_program_learns_R_with_its_own_constants(tmp_path, constants):
    done = subprocess.run(**command(tmp_path), timeout=600)
    assert (done.returncode, done.stderr) == (0, "") and learned(done.stdout)
    w1, ks = distances(done.stdout)
    assert 0 < w1 <= 0.04 and 0 < ks <= 0.02  # two samples of R itself: up to 0.02 and 0.012
    assert os.listdir("empty") == [gan_1d.PLOT_FILE]
    check_png(tmp_path / "empty" / gan_1d.PLOT_FILE)


@pytest.mark.parametrize("argument, code", [("--help", 0), ("--steps=9", 2)])
def test_program_has_help_and_refuses_arguments_with_a_hint(tmp_path, argument, code):
    done = subprocess.run(**command(tmp_path, argument), timeout=100)
    assert done.returncode == code and not os.listdir("empty")
    if code == 0:
        assert (done.stdout.strip(), done.stderr) == (gan_1d.__doc__.strip(), "")
    else:
        assert done.stdout == "" and re.fullmatch(".*constants.*\n", done.stderr)


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGINT to send on Windows")
def test_ctrl_c_shows_what_was_learned_and_exits_with_130(tmp_path):
    old = signal.signal(signal.SIGINT, signal.default_int_handler)  # "ignore" would be inherited
    process = subprocess.Popen(**command(tmp_path))
    signal.signal(signal.SIGINT, old)
    try:
        seen = ""
        while len(LOG_LINE.findall(seen)) < 3:
            line = process.stdout.readline()
            assert line, seen + process.stderr.read()
            seen += line
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=100)
    finally:
        process.kill()
    assert (process.returncode, err) == (130, "")
    assert int(LOG_LINE.findall(seen + out)[-1]) < ALL_STEPS
    assert len(distances(out)) == 2 and learned(out) in (True, False)
    assert str(tmp_path / "empty" / gan_1d.PLOT_FILE) in out
    check_png(tmp_path / "empty" / gan_1d.PLOT_FILE)


def test_import_only_defines(capfd):
    def state():
        return (torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate(),
                torch.get_num_threads(), plt.get_fignums(), plt.get_backend())
    before = state()
    assert "main" in runpy.run_path(str(SCRIPT), run_name="imported")
    assert state() == before and capfd.readouterr() == ("", "") and not os.listdir()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")
def test_all_runs_on_cuda(constants, capsys):
    constants(DEVICE="cuda")
    assert gan_1d.R(3).is_cuda and gan_1d.I(3).is_cuda
    assert not any(row[k].is_cuda for row in Game().history for k in ("real", "fake", "d_fake"))
    G = gan_1d.main()
    assert all(p.is_cuda for p in G.parameters()) and G(gan_1d.I(3)).shape == (3, 1)
    assert not learned(capsys.readouterr().out) and os.listdir() == [gan_1d.PLOT_FILE]


# ---- The source --------------------------------------------------------------------------------

SOURCE = SCRIPT.read_text(encoding="utf-8")
TREE = ast.parse(SOURCE)


def code_lines():
    """The numbers of the lines that are not blank, comment or docstring."""
    skip = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
            tokenize.ENDMARKER)
    lines = {n for token in tokenize.generate_tokens(io.StringIO(SOURCE).readline)
             if token.type not in skip for n in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(TREE):
        documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        if documented and ast.get_docstring(node):
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return lines


def test_source_stays_short():
    lines = SOURCE.splitlines()
    assert len(lines) < 350 and max(map(len, lines)) <= 100 and len(code_lines()) < 200
    core = {node.name: set(range(node.lineno, node.end_lineno + 1)) for node in TREE.body
            if getattr(node, "name", None) in ("R", "I", "mlp", "Generator", "Discriminator",
                                               "d_loss", "g_loss", "train")}
    assert len(core) == 8 and len(code_lines() & set.union(*core.values())) < 50


def test_source_starts_with_plain_constants_and_every_one_is_checked():
    nodes = [node for node in TREE.body if isinstance(node, (ast.Assign, ast.AnnAssign))]
    lines = [SOURCE.splitlines()[node.lineno - 1] for node in nodes]
    names = [re.match(r"([A-Z_]+) = \S", line)[1] for line in lines]
    assert all(node.lineno == node.end_lineno for node in nodes)
    assert set(names) == BAD.keys() == GOOD.keys()


def test_source_needs_only_torch_numpy_and_matplotlib():
    nodes = list(ast.walk(TREE))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    packages = {name.split(".")[0] for name in names} - sys.stdlib_module_names
    assert packages == {"torch", "numpy", "matplotlib"}
