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
N = 100_000  # samples; bounds on random moments are 5 standard errors wide


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
    with plt.rc_context():
        yield setter


def kept(sampler, batches):
    """The sampler, but what it draws is also appended to batches."""
    def draw(n):
        batches.append(sampler(n))
        return batches[-1]
    return draw


def table(out):
    """The rows of numbers that a run printed: a dict from the first word of each."""
    rows = re.findall(r"^ *(\w+)((?: +-?[\d.]+|nan){5,})$", out, re.M)
    return {name: [float(x) for x in numbers.split()] for name, numbers in rows}


@pytest.mark.parametrize("mean, std, dim", [(4.0, 1.25, 1), (-30, 0.01, 2)])
def test_samplers(change, mean, std, dim):
    change(REAL_MEAN=mean, REAL_STD=std, NOISE_DIM=dim)
    x, z = (gan_1d.R(N).double() - mean) / std, gan_1d.I(N)
    assert x.shape == (N, 1) and z.shape == (N, dim) and z.abs().max() <= 1
    for power, wanted, variance in (1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96):  # of x**power
        assert abs((x**power).mean() - wanted) < 5 * (variance / N)**0.5
    for column in z.T:
        assert (torch.histc(column, 10, -1, 1) - N / 10).abs().max() < 5 * (N * 0.1 * 0.9)**0.5
    lagged = torch.corrcoef(torch.cat([z[1:], z[:-1]], 1).T)  # with the other columns and rows
    assert (lagged - torch.eye(2 * dim)).abs().max() < 5 / N**0.5


def test_nets_have_the_sizes_of_the_constants_and_judge_each_sample_on_its_own(change):
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
    # softplus(x) is log(1 + exp(x)), so -log D is softplus(-logit), -log(1 - D) softplus(logit).
    for label, wanted in (1, softplus(-logits.double())), (0, softplus(logits.double())):
        losses = gan_1d.bce(logits, label), wanted.mean()
        slopes = [torch.autograd.grad(loss, logits)[0] for loss in losses]
        assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
        torch.testing.assert_close(*slopes)


def test_turns(change):
    """Who changes when, on which samples, at which rates."""
    change(D_STEPS=3, STEPS=50, BATCH_SIZE=17, G_LR=3e-3, D_LR=7e-3)
    nets, updates, real, noise = [gan_1d.Generator(), gan_1d.Discriminator()], [], [], []

    def record(optimizer, *args):
        weights = [[p.detach().clone() for p in net.parameters()] for net in nets]
        updates.append((*weights, optimizer.param_groups[0]["lr"]))

    hook = register_optimizer_step_post_hook(record)
    gan_1d.train(kept(gan_1d.R, real), kept(gan_1d.I, noise), *nets)
    hook.remove()
    g, d, rates = zip(*updates, strict=True)
    for turn in range(1, 50 * 4):
        mine, other = (g, d) if turn % 4 == 3 else (d, g)  # three updates of D, then one of G
        assert not any(map(torch.equal, mine[turn - 1], mine[turn]))
        assert all(map(torch.equal, other[turn - 1], other[turn]))
    for drawn, count in (real, 50 * 3), (noise, 50):
        samples = torch.cat([x for x in drawn if len(x) == 17])
        assert len(samples) == 17 * count
        assert len(samples.unique()) >= 17 * count - 5  # all are fresh; float32 may repeat, rarely
    d_rates, g_rates = np.array(rates[0::4]), np.array(rates[3::4])
    assert d_rates[0] == pytest.approx(7e-3) and g_rates[0] == pytest.approx(3e-3)
    assert (d_rates == rates[2::4]).all()
    assert (np.diff(d_rates) < 0).all() and (np.diff(g_rates) < 0).all()
    assert 0 < d_rates[-1] < 0.2 * 7e-3 and 0 < g_rates[-1] / 3e-3 < 0.2 * d_rates[-1] / 7e-3


def test_D_learns_to_tell_real_from_fake_and_G_goes_where_D_says_real(change):
    change(STEPS=150, G_LR=1e-12)  # G stays near 0, far from R
    D = gan_1d.Discriminator()
    last = gan_1d.train(gan_1d.R, gan_1d.I, gan_1d.Generator(), D)["looks"][-1]
    assert last["d_real"].mean() > 0.9 and last["d_fake"].mean() < 0.1
    change(STEPS=50, G_LR=1e-2, D_LR=1e-12)
    first, *_, last = gan_1d.train(gan_1d.R, gan_1d.I, gan_1d.Generator(), D)["looks"]
    assert last["d_fake"].mean() > first["d_fake"].mean() + 0.2
    assert last["fake"].mean() > first["fake"].mean() + 0.5


@pytest.mark.parametrize("dim, steps, every, wanted", [
    (1, 20, 5, [0, 5, 10, 15, 20]), (2, 7, 3, [0, 3, 6, 7]), (1, 3, 100, [0, 3])])
def test_each_look_is_printed_and_kept(change, capsys, dim, steps, every, wanted):
    change(STEPS=steps, LOG_EVERY=every)
    G, D = torch.nn.Linear(1, dim), torch.nn.Linear(dim, 1)
    history = gan_1d.train(lambda n: 4 + torch.randn(n, dim), gan_1d.I, G, D)
    real, rows = history["real"], table(capsys.readouterr().out)
    goal = [2 * np.log(2), np.log(2), 0.5, 0.5, real.mean(), real.std()]
    assert real.shape == (len(real), dim) and len(real) >= 1000
    assert rows.pop("goal") == pytest.approx(goal, abs=6e-4)
    assert [look["step"] for look in history["looks"]] == [int(step) for step in rows] == wanted
    for look, row in zip(history["looks"], rows.values()):
        fake, d_real, d_fake = look["fake"], look["d_real"], look["d_fake"]
        losses = -np.log(d_real).mean() - np.log(1 - d_fake).mean(), -np.log(d_fake).mean()
        numbers = [*losses, d_real.mean(), d_fake.mean(), fake.mean(), fake.std()]
        assert fake.shape == real.shape and row == pytest.approx(numbers, abs=1e-3)
    for samples, probability in (real, d_real), (fake, d_fake):  # of the last look
        wanted = D(torch.tensor(samples)).sigmoid().detach().numpy()
        np.testing.assert_allclose(probability, wanted, rtol=1e-5)


def test_same_seed_same_numbers_however_often_they_are_printed(change, capsys):
    def run(**constants):
        change(**constants)
        return torch.cat([p.ravel() for p in gan_1d.main().parameters()]), capsys.readouterr().out

    torch.set_num_threads(2)
    (weights, out), (again, out_again) = run(SEED=5), run(SEED=5)
    assert torch.get_num_threads() == 1
    assert torch.equal(weights, again) and out == out_again
    again, out_again = run(LOG_EVERY=1)
    assert torch.equal(weights, again) and out != out_again
    assert not torch.equal(weights, run(SEED=6)[0])


def test_R_can_be_replaced_and_table_and_picture_show_it(change, monkeypatch, capsys):
    drawn, noise, axes = [], [], []
    change(R=kept(lambda n: torch.empty(n, 1).exponential_(), drawn), I=kept(gan_1d.I, noise))
    monkeypatch.setattr(plt, "show", lambda: axes.extend(plt.gcf().axes))
    G = gan_1d.main()
    rows = table(capsys.readouterr().out)
    fake = np.sort(G(noise[-1]).detach().numpy().ravel())
    other, real = [np.sort(x.numpy().ravel()) for x in drawn[-2:]]
    for name, x in ("real", real), ("fake", fake):
        z = (x - x.mean()) / x.std()
        distance = np.abs(x - other).mean() / other.std()
        numbers = [x.mean(), x.std(), (z**3).mean(), (z**4).mean() - 3, distance]
        assert rows[name] == pytest.approx(numbers, abs=2e-3, rel=1e-3)
    mean, std, histogram, curves, d = axes
    for ax, goal, column in (mean, real.mean(), -2), (std, real.std(), -1):
        target, line = ax.lines
        assert target.get_ydata()[0] == pytest.approx(goal, rel=1e-4)
        seen = [rows[str(step)][column] for step in line.get_xdata()]
        assert line.get_ydata() == pytest.approx(seen, abs=1e-3) and len(seen) == 5
    seen = [np.mean(line.get_ydata()) for line in d.lines]
    assert seen == pytest.approx(rows["20"][2:4], abs=1e-3)
    for line, x in zip(curves.lines, (real, fake), strict=True):
        assert np.allclose(np.ravel(line.get_ydata()), x)
    bins = np.linspace(min(real[0], fake[0]), max(real[-1], fake[-1]), 100)
    for outline, x in zip(histogram.patches, (real, fake), strict=True):
        density, _ = np.histogram(x, bins, density=True)
        assert outline.get_xy()[:, 1].max() == pytest.approx(density.max(), rel=0.02)
    assert os.listdir() == [gan_1d.PLOT_FILE]


NONSENSE = [
    ("REAL_MEAN", "4"), ("REAL_MEAN", np.nan), ("REAL_STD", -1.0), ("REAL_STD", 0.0),
    ("NOISE_DIM", 1.5), ("G_HIDDEN", "32"), ("D_HIDDEN", 32.0), ("BATCH_SIZE", -1), ("STEPS", 1e3),
    ("D_STEPS", "2"), ("G_LR", -1e-3), ("G_LR", np.inf), ("D_LR", "fast"), ("D_LR", 1e30),
    ("BETAS", (0.9,)), ("BETAS", (1.0, 0.9)), ("SEED", "one"), ("LOG_EVERY", 0),
    ("PLOT_FILE", "gan_1d.xyz"), ("PLOT_FILE", "missing/gan_1d.png"), ("DEVICE", "gpu")]


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
    assert 0 < table(capsys.readouterr().out)["fake"][-1] < 0.06  # a flat block has 0.154


def test_program_learns_R_with_its_own_constants_also_without_a_screen(monkeypatch):
    for name in "MPLBACKEND", "DISPLAY", "WAYLAND_DISPLAY", "PYTHONWARNINGS":
        monkeypatch.delenv(name, raising=False)
    if sys.platform != "linux":
        monkeypatch.setenv("MPLBACKEND", "Agg")  # elsewhere a window would open, and wait,
        monkeypatch.setenv("PYTHONWARNINGS", "ignore:FigureCanvasAgg")  # and without it Agg warns
    done = subprocess.run([sys.executable, gan_1d.__file__], capture_output=True, text=True,
                          timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    rows = table(done.stdout)
    assert 0 < rows["real"][-1] < 0.015 and 0 < rows["fake"][-1] < 0.045
    image = plt.imread(gan_1d.PLOT_FILE)
    assert 600 <= image.shape[0] < image.shape[1] <= 2400 and image[..., :3].std() > 0.05


def process():
    """What the script must leave as it was: all but PyTorch's seed and threads."""
    return (torch.get_default_dtype(), torch.is_grad_enabled(), plt.get_fignums(),
            plt.rcParams.copy(), sys.argv[:], str(np.random.get_state()))


def test_pasted_into_a_notebook_cell_it_runs_and_leaves_the_kernel_as_it_was(capsys):
    before = process()
    cell = re.sub("^STEPS = .*", "STEPS = 20", SOURCE, flags=re.M)
    exec(compile(cell, "cell", "exec"), {"__name__": "__main__"})
    assert process() == before and os.listdir() == [gan_1d.PLOT_FILE]
    assert "fake" in table(capsys.readouterr().out)


def test_import_only_defines(capfd):
    before = process(), torch.get_rng_state().tolist(), torch.get_num_threads()
    exec(SOURCE, {"__name__": "gan_1d"})
    assert (process(), torch.get_rng_state().tolist(), torch.get_num_threads()) == before
    assert capfd.readouterr() == ("", "") and not os.listdir()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")
def test_all_runs_on_cuda(change):
    change(DEVICE="cuda")
    assert all(p.is_cuda for p in gan_1d.main().parameters()) and os.listdir() == [gan_1d.PLOT_FILE]
