"""What a user of gan_1d.py relies on: python -m pytest tests"""
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
from torch.nn.functional import softplus
from torch.optim.optimizer import register_optimizer_step_post_hook

plt.switch_backend("Agg")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import gan_1d  # noqa: E402

SOURCE = Path(gan_1d.__file__).read_text(encoding="utf-8")
pytestmark = pytest.mark.filterwarnings("error")  # nothing here may warn


@pytest.fixture(autouse=True)
def change(monkeypatch, tmp_path):
    """Games are short here, on the CPU, in an empty folder. Returns a setter of constants."""
    def setter(**constants):
        for name, value in constants.items():
            monkeypatch.setattr(gan_1d, name, value)

    setter(DEVICE="cpu", STEPS=20, LOG_EVERY=5, BATCH_SIZE=64)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))  # as a notebook does
    torch.manual_seed(1)
    with plt.rc_context():
        yield setter
    plt.close("all")


def kept(sampler, batches):
    """The sampler, but what it draws is also appended to batches."""
    return lambda n: batches.append(sampler(n)) or batches[-1]


def table(out):
    """The rows of numbers that a run printed: a dict from the first word of each."""
    rows = re.findall(r"^ *(\w+)((?: +-?[\d.]+){5,})$", out, re.M)
    return {name: [float(x) for x in numbers.split()] for name, numbers in rows}


def test_samplers(change):
    change(REAL_MEAN=-30.0, REAL_STD=0.5, NOISE_DIM=2)
    x, z = gan_1d.R(100_000), gan_1d.I(100_000)
    assert x.shape == (100_000, 1) and z.shape == (100_000, 2)
    shares = torch.cat([torch.special.ndtr((x + 30) / 0.5), (z + 1) / 2], 1).T
    for share in shares:  # Each tenth holds 10,000 samples; 5 standard errors are allowed.
        assert (torch.histc(share, 10, 0, 1) - 10_000).abs().max() < 5 * 9000**0.5
    assert (torch.corrcoef(shares) - torch.eye(3)).abs().max() < 5 / 100_000**0.5


def test_nets_follow_the_constants_and_judge_each_sample_on_its_own(change):
    change(NOISE_DIM=3, G_HIDDEN=50, D_HIDDEN=7, REAL_MEAN=9.0, REAL_STD=0.01)
    G, D, real = gan_1d.Generator(), gan_1d.Discriminator(), gan_1d.R(40)
    for net, sizes in (G, [(50, 3), (50, 50), (1, 50)]), (D, [(7, 1), (7, 7), (1, 7)]):
        assert [p.shape for p in net.parameters() if p.dim() == 2] == sizes
    logits = D(real)
    assert G(gan_1d.I(40)).shape == logits.shape == (40, 1)
    torch.testing.assert_close(logits, torch.stack([D(x) for x in real]))
    assert logits.std() > 0.01  # scaled by R's own: raw samples would look all alike


def test_loss_and_its_slopes_are_those_of_the_paper_also_for_a_D_that_is_sure():
    logits = torch.tensor([[0.0, 1, -2, 20, -20, 100, -100]], requires_grad=True)
    for label, wanted in (1, softplus(-logits.double())), (0, softplus(logits.double())):
        losses = gan_1d.bce(logits, label), wanted.mean()  # -log D, and -log(1 - D)
        slopes = [torch.autograd.grad(loss, logits)[0] for loss in losses]
        assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
        torch.testing.assert_close(*slopes)


def test_turns(change):
    """Who changes when, on which samples, at which rates."""
    change(D_STEPS=2, STEPS=50, BATCH_SIZE=17, G_LR=3e-3, D_LR=7e-3)
    nets, updates, real, noise = [gan_1d.Generator(), gan_1d.Discriminator()], [], [], []

    def record(optimizer, *_):
        weights = [[p.detach().clone() for p in net.parameters()] for net in nets]
        updates.append((optimizer.param_groups[0]["lr"], *weights))

    hook = register_optimizer_step_post_hook(record)
    history = gan_1d.train(kept(gan_1d.R, real), kept(gan_1d.I, noise), *nets)
    hook.remove()
    assert [look["step"] for look in history["looks"]] == [*range(0, 51, 5)]
    assert all(isinstance(look[key], np.ndarray) and look[key].shape == history["real"].shape
               for look in history["looks"] for key in ("fake", "d_real", "d_fake"))
    assert not np.array_equal(history["looks"][0]["fake"], history["looks"][-1]["fake"])
    rates, g, d = zip(*updates, strict=True)
    assert len(rates) == 50 * 3 and rates[0::3] == pytest.approx(rates[1::3], rel=1e-12)
    for turn in range(1, 50 * 3):
        mine, other = (g, d) if turn % 3 == 2 else (d, g)  # two updates of D, then one of G
        assert not any(map(torch.equal, mine[turn - 1], mine[turn]))
        assert all(map(torch.equal, other[turn - 1], other[turn]))
    for drawn, count in (real, 50 * 2), (noise, 50):  # All are fresh; float32 may repeat, rarely.
        assert len(torch.cat([x for x in drawn if len(x) == 17]).unique()) >= 17 * count - 5
    d_rates, g_rates = np.array(rates[0::3]) / 7e-3, np.array(rates[2::3]) / 3e-3
    assert d_rates[0] == g_rates[0] == pytest.approx(1)
    assert (np.diff(d_rates) < 0).all() and (np.diff(g_rates) < 0).all()
    assert 0 < 5 * g_rates[-1] < d_rates[-1] < 0.2


def test_same_seed_same_numbers_however_often_they_are_printed(change, capsys):
    weights, texts = [], []
    for constants in {}, {}, {"LOG_EVERY": 1}, {"SEED": 6}:
        change(**constants)
        weights.append(torch.cat([p.ravel() for p in gan_1d.main().parameters()]))
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]
    assert [torch.equal(weights[0], other) for other in weights] == [True, True, True, False]


def test_R_can_be_replaced_and_lines_table_and_picture_show_it(change, monkeypatch, capsys):
    drawn, noise, axes = [], [], []
    change(R=kept(lambda n: torch.empty(n, 1).exponential_(), drawn), I=kept(gan_1d.I, noise))
    change(STEPS=18)
    monkeypatch.setattr(plt, "show", lambda: axes.extend(plt.gcf().axes) or plt.close("all"))
    fake = np.sort(gan_1d.main()(noise[-1]).detach().numpy().ravel())
    other, real = [np.sort(x.numpy().ravel()) for x in drawn[-2:]]
    rows = table(capsys.readouterr().out)
    for name, x in ("real", real), ("fake", fake):
        z = (x - x.mean()) / x.std()
        distance = np.abs(x - other).mean() / other.std()
        numbers = [x.mean(), x.std(), (z**3).mean(), (z**4).mean() - 3, distance]
        assert rows.pop(name) == pytest.approx(numbers, abs=2e-3, rel=1e-3)
    goal = [2 * np.log(2), np.log(2), 0.5, 0.5, drawn[1].numpy().mean(), drawn[1].numpy().std()]
    assert rows.pop("goal") == pytest.approx(goal, abs=6e-4)
    assert list(rows) == ["0", "5", "10", "15", "18"]
    mean, std, histogram, curves, d = axes
    for ax, goal, column in (mean, real.mean(), -2), (std, real.std(), -1):
        assert ax.lines[0].get_ydata()[0] == pytest.approx(goal, rel=1e-4)
        assert [str(step) for step in ax.lines[1].get_xdata()] == list(rows)
        seen = [row[column] for row in rows.values()]
        assert ax.lines[1].get_ydata() == pytest.approx(seen, abs=1e-3)
    d_real, d_fake = [line.get_ydata() for line in d.lines]
    losses = -np.log(d_real).mean() - np.log(1 - d_fake).mean(), -np.log(d_fake).mean()
    assert rows["18"][:4] == pytest.approx([*losses, d_real.mean(), d_fake.mean()], abs=1e-3)
    for outline, line, x in zip(histogram.patches, curves.lines, (real, fake), strict=True):
        density, _ = np.histogram(x, outline.get_xy()[:199:2, 0], density=True)
        assert outline.get_xy()[:, 1].max() == pytest.approx(density.max(), rel=0.01)
        assert np.allclose(line.get_ydata().ravel(), x)


NONSENSE = [
    ("REAL_MEAN", np.nan), ("REAL_STD", -1.0), ("REAL_STD", 0.0), ("NOISE_DIM", 1.5),
    ("G_HIDDEN", "32"), ("D_HIDDEN", 32.0), ("BATCH_SIZE", -1), ("STEPS", 1e3), ("D_STEPS", "2"),
    ("G_LR", np.inf), ("D_LR", 1e30), ("BETAS", (1.0, 0.9)), ("SEED", "one"), ("LOG_EVERY", 0),
    ("PLOT_FILE", "missing/gan_1d.png"), ("DEVICE", "gpu")]


@pytest.mark.parametrize("name, value", NONSENSE)
def test_nonsense_ends_with_an_error_that_shows_the_constant_or_the_step(change, name, value):
    Path("gan_1d.png").write_text("of an earlier run")
    change(**{name: value})
    with pytest.raises(Exception) as stop:
        gan_1d.main()
    trace = "".join(traceback.format_exception(stop.value)).partition("in main")[2]
    assert name in trace or re.search(r"finite at step \d+", str(stop.value))
    assert os.listdir() == ["gan_1d.png"] and Path("gan_1d.png").read_text() == "of an earlier run"


def test_constants_are_plain_lines():
    assert {name for name, _ in NONSENSE} == {*re.findall(r"^([A-Z_]+) = \S", SOURCE, re.M)}


def test_G_goes_where_R_is(change, capsys):
    change(STEPS=2500, BATCH_SIZE=384, REAL_MEAN=100.0, REAL_STD=15.0)
    gan_1d.main()
    assert 0 < table(capsys.readouterr().out)["fake"][-1] < 0.06  # A flat block has 0.154.


def test_program_learns_R_with_its_own_constants(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")  # no window, and no warning that there is none
    monkeypatch.setenv("PYTHONWARNINGS", "ignore:FigureCanvasAgg")
    done = subprocess.run([sys.executable, gan_1d.__file__], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    rows = table(done.stdout)
    assert 0 < rows["real"][-1] < 0.015 and 0 < rows["fake"][-1] < 0.045
    assert plt.imread(gan_1d.PLOT_FILE)[..., :3].std() > 0.05


def process():
    """What the script must leave as it was: all but PyTorch's seed and threads."""
    return (plt.get_fignums(), plt.rcParams.copy(), sys.argv[:], str(np.random.get_state()),
            torch.get_default_dtype(), torch.is_grad_enabled())


@pytest.mark.parametrize("name", ["gan_1d", "__main__"])
def test_imported_it_only_defines_and_pasted_into_a_cell_it_runs(name, capfd):
    torch.set_num_threads(2)
    before, random = process(), torch.get_rng_state()
    exec(re.sub("^STEPS = .*", "STEPS = 20", SOURCE, flags=re.M), {"__name__": name})
    assert process() == before
    out, err = capfd.readouterr()
    if name == "__main__":
        assert os.listdir() == [gan_1d.PLOT_FILE] and "fake" in table(out)
        assert torch.get_num_threads() == 1
    else:
        assert not os.listdir() and out == err == ""
        assert torch.get_num_threads() == 2 and torch.equal(random, torch.get_rng_state())
