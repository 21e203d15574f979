"""What a user of gan_1d.py relies on: python -m pytest tests"""
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from pytest import approx
from torch.optim.optimizer import register_optimizer_step_post_hook

plt.switch_backend("Agg")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import gan_1d  # noqa: E402

pytestmark = pytest.mark.filterwarnings("error")  # nothing here may warn
change = vars(gan_1d).update  # change(STEPS=100) is a user's gan_1d.STEPS = 100


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """A fresh script with short games on the CPU, in an empty folder; plt.show() leaves a file."""
    importlib.reload(gan_1d)
    change(DEVICE="cpu", STEPS=20, LOG_EVERY=5, BATCH_SIZE=64)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", Path("shown").touch)
    plt.rcdefaults()
    torch.manual_seed(1)
    np.random.seed(1)


def table(out):
    """The rows of numbers that a run printed: a dict from the first word of each."""
    rows = re.findall(r"^ *(\w+)((?: +-?[\d.]+){5,})$", out, re.M)
    return {name: [float(x) for x in numbers.split()] for name, numbers in rows}


def test_samplers_and_nets_follow_the_constants():
    change(REAL_MEAN=-30.0, REAL_STD=0.01, NOISE_DIM=2, G_HIDDEN=50, D_HIDDEN=7)
    G, D, x, z = gan_1d.Generator(), gan_1d.Discriminator(), gan_1d.R(100_000), gan_1d.I(100_000)
    assert x.shape == D(x).shape == G(z).shape == (100_000, 1) and z.shape == (100_000, 2)
    shares = torch.cat([torch.special.ndtr((x + 30) / 0.01), (z + 1) / 2], 1).T
    for share in shares:  # Each tenth holds 10,000 samples; 5 standard errors are allowed.
        assert (torch.histc(share, 10, 0, 1) - 10_000).abs().max() < 5 * 9000**0.5
    assert (torch.corrcoef(shares) - torch.eye(3)).abs().max() < 5 / 100_000**0.5
    for net, sizes in (G, [(50, 2), (50, 50), (1, 50)]), (D, [(7, 1), (7, 7), (1, 7)]):
        assert [p.shape for p in net.parameters() if p.dim() == 2] == sizes
    torch.testing.assert_close(D(x)[:40], torch.stack([D(one) for one in x[:40]]))
    assert D(x).std() > 0.01  # scaled by R's own: raw samples would look all alike


def test_loss_and_its_slopes_are_those_of_the_paper_also_for_a_D_that_is_sure():
    logits = torch.tensor([[0.0, 1, -2, 20, -20, 100, -100]], requires_grad=True)
    for label, sign in (1, 1), (0, -1):  # -log D and -log(1 - D), in float64
        wanted = -(sign * logits.double()).sigmoid().log().mean()
        loss = gan_1d.bce(logits, label)
        assert loss.item() == approx(wanted.item(), rel=1e-6)
        slopes = [torch.autograd.grad(x, logits)[0] for x in (loss, wanted)]
        torch.testing.assert_close(*slopes)


def test_who_changes_when_and_at_which_rates():
    bce = Mock(wraps=gan_1d.bce)
    change(D_STEPS=2, STEPS=50, BATCH_SIZE=17, G_LR=3e-3, D_LR=7e-3, bce=bce)
    nets, updates, real, noise = [gan_1d.Generator(), gan_1d.Discriminator()], [], [], []

    def kept(batches, batch):
        batches.append(batch)
        return batch

    def record(optimizer, *_):
        weights = [[p.detach().clone() for p in net.parameters()] for net in nets]
        updates.append((optimizer.param_groups[0]["lr"], *weights))

    hook = register_optimizer_step_post_hook(record)
    R, I = gan_1d.R, gan_1d.I
    looks = gan_1d.train(lambda n: kept(real, R(n)), lambda n: kept(noise, I(n)), *nets)["looks"]
    hook.remove()
    assert {type(value) for look in looks for value in look.values()} == {int, np.ndarray}
    assert {args[1] for args, _ in bce.call_args_list} == {0, 1}
    for drawn, count in (real, 50 * 2), (noise, 50):  # All are fresh; float32 may repeat, rarely.
        batches = [batch for batch in drawn if len(batch) == 17]
        assert len(batches) == count and len(torch.cat(batches).unique()) >= 17 * count - 5
    rates, g, d = zip(*updates)
    for turn in range(1, 50 * 3):
        mine, other = (g, d) if turn % 3 == 2 else (d, g)  # two updates of D, then one of G
        assert not any(map(torch.equal, mine[turn - 1], mine[turn]))
        assert all(map(torch.equal, other[turn - 1], other[turn]))
    rates = np.reshape(rates, (50, 3)) / [7e-3, 7e-3, 3e-3]
    assert rates[0] == approx(1) and (np.diff(rates, axis=0) < 0).all()
    assert (rates[:, 0] == rates[:, 1]).all() and 0 < 5 * rates[-1, 2] < rates[-1, 0] < 0.2


def test_same_seed_same_numbers_however_often_they_are_printed(capsys):
    weights, texts = [], []
    for constants in {}, {}, {"LOG_EVERY": 1}, {"SEED": 6}:
        change(**constants)
        weights.append(torch.cat([p.ravel() for p in gan_1d.main().parameters()]))
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]
    assert [weights[0].equal(other) for other in weights[1:]] == [True, True, False]


def test_R_can_be_replaced_and_lines_table_and_picture_show_it(capsys):
    change(STEPS=18, R=lambda n: -torch.linspace(1 / n, 1, n)[:, None].log(),  # exponential
           I=lambda n: torch.linspace(1, -1, n)[:, None])
    fake = np.sort(gan_1d.main()(gan_1d.I(100_000)).detach().numpy(), 0)
    real, few = np.sort(gan_1d.R(100_000).numpy(), 0), gan_1d.R(5000).numpy()
    rows = table(capsys.readouterr().out)
    for name, x in ("real", real), ("fake", fake):
        z, distance = (x - x.mean()) / x.std(), np.abs(x - real).mean() / real.std()
        wanted = [x.mean(), x.std(), (z**3).mean(), (z**4).mean() - 3, distance]
        assert rows.pop(name) == approx(wanted, abs=2e-3, rel=1e-3)
    wanted = 2 * np.log(2), np.log(2), 0.5, 0.5, few.mean(), few.std()
    assert rows.pop("goal") == approx(wanted, abs=6e-4)
    mean, std, histogram, curves, d = plt.gcf().axes
    for ax, goal, column in (mean, real.mean(), -2), (std, real.std(), -1):
        assert ax.lines[0].get_ydata()[0] == approx(goal, rel=1e-4)
        assert list(ax.lines[1].get_xdata()) == [int(step) for step in rows] == [0, 5, 10, 15, 18]
        assert ax.lines[1].get_ydata() == approx([row[column] for row in rows.values()], abs=1e-3)
    d_real, d_fake = [line.get_ydata() for line in d.lines]
    losses = -np.log(d_real).mean() - np.log(1 - d_fake).mean(), -np.log(d_fake).mean()
    assert rows["18"][:4] == approx([*losses, d_real.mean(), d_fake.mean()], abs=1e-3)
    for outline, line, x in zip(histogram.patches, curves.lines, (real, fake), strict=True):
        density, _ = np.histogram(x, outline.get_xy()[:199:2, 0], density=True)
        assert outline.get_xy()[:, 1].max() == approx(density.max(), rel=0.01)
        assert np.allclose(line.get_ydata(), x.ravel())


NONSENSE = [
    ("REAL_MEAN", np.nan), ("REAL_STD", -1.0), ("REAL_STD", 0.0), ("NOISE_DIM", 1.5),
    ("G_HIDDEN", "32"), ("D_HIDDEN", 32.0), ("BATCH_SIZE", -1), ("STEPS", 1e3), ("D_STEPS", "2"),
    ("G_LR", np.inf), ("D_LR", 1e30), ("BETAS", (1.0, 0.9)), ("SEED", "one"), ("LOG_EVERY", 0),
    ("PLOT_FILE", "missing/gan_1d.png"), ("DEVICE", "gpu")]


@pytest.mark.parametrize("name, value", NONSENSE)
def test_nonsense_ends_with_an_error_that_shows_the_constant_or_the_step(name, value):
    Path("gan_1d.png").write_text("of an earlier run")
    change(**{name: value})
    with pytest.raises(Exception) as stop:
        gan_1d.main()
    assert re.search(rf"{name}|finite at step \d+", str(stop.getrepr(style="short")))
    assert os.listdir() == ["gan_1d.png"] and Path("gan_1d.png").read_text() == "of an earlier run"


def test_it_learns_R_as_a_program_and_where_R_is_far(capsys):
    no_window = {"MPLBACKEND": "Agg", "PYTHONWARNINGS": "ignore:FigureCanvasAgg"}
    done = subprocess.run([sys.executable, gan_1d.__file__], capture_output=True, text=True,
                          env=os.environ | no_window)
    assert (done.returncode, done.stderr) == (0, "")
    rows = table(done.stdout)
    assert 0 < rows["real"][-1] < 0.015 and 0 < rows["fake"][-1] < 0.045
    assert plt.imread(gan_1d.PLOT_FILE)[..., :3].std() > 0.05
    importlib.reload(gan_1d)  # all constants are its own again
    change(DEVICE="cpu", REAL_MEAN=100.0, REAL_STD=15.0)
    gan_1d.main()
    assert 0 < table(capsys.readouterr().out)["fake"][-1] < 0.06  # A flat block has 0.154.


def test_imported_it_only_defines_and_pasted_into_a_cell_it_runs(capfd):
    def state():  # of all that the script could change; it needs the last two, threads and seed
        return [plt.get_fignums(), plt.rcParams.copy(), sys.argv[:], str(np.random.get_state()),
                torch.get_default_dtype(), torch.is_grad_enabled(),
                torch.get_num_threads(), torch.get_rng_state().tolist()]

    torch.set_num_threads(2)
    before = state()
    importlib.reload(gan_1d)
    assert state() == before and not os.listdir() and capfd.readouterr() == ("", "")
    source = Path(gan_1d.__file__).read_text(encoding="utf-8")
    assert {*re.findall(r"^([A-Z_]+) = \S", source, re.M)} == {name for name, _ in NONSENSE}
    exec(re.sub("^STEPS = .*", "STEPS = 20", source, flags=re.M), {"__name__": "__main__"})
    assert state()[1:-2] == before[1:-2] and torch.get_num_threads() == 1
    assert sorted(os.listdir()) == ["gan_1d.png", "shown"]
    assert "fake" in table(capfd.readouterr().out)
