"""What a user of gan_1d.py relies on: python -m pytest tests"""

import copy
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from pytest import approx
from torch.optim.optimizer import register_optimizer_step_post_hook

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import gan_1d  # noqa: E402

SCRIPT = ROOT / "gan_1d.py"
plt.switch_backend("Agg")  # No test opens a window.

# Every test starts with these, so that you can change the constants of the script.
CONSTANTS = {
    "REAL_MEAN": 4.0,
    "REAL_STD": 1.25,
    "NOISE_DIM": 2,
    "G_HIDDEN": 32,
    "D_HIDDEN": 32,
    "BATCH_SIZE": 16,
    "STEPS": 5,
    "D_STEPS": 3,
    "G_LR": 8e-3,
    "D_LR": 4e-3,
    "BETAS": (0.0, 0.85),
    "SEED": 0,
    "LOG_EVERY": 100,
    "PLOT_FILE": "gan_1d.png",
    "DEVICE": "cpu",
}


@pytest.fixture(autouse=True)
def known_constants_and_an_empty_folder(monkeypatch, tmp_path):
    for name, value in CONSTANTS.items():
        monkeypatch.setattr(gan_1d, name, value)
    monkeypatch.setattr(plt, "show", lambda: None)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    yield
    plt.close("all")


@pytest.fixture
def no_picture(monkeypatch):
    """Save the time of drawing, where only what main learns or prints is the matter."""
    monkeypatch.setattr(gan_1d, "plot", lambda *_: None)


@pytest.fixture
def no_learning(monkeypatch):
    """Keep both nets as they are."""
    monkeypatch.setattr(gan_1d, "G_LR", 0.0)
    monkeypatch.setattr(gan_1d, "D_LR", 0.0)


def new_nets():
    return gan_1d.Generator(), gan_1d.Discriminator(gan_1d.R(1000))


def weights(net):
    """All weights of a net, in one vector of their own, which no update changes."""
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def gradients_of(net):
    """All gradients of a net, in one vector of their own; None if it has none."""
    gradients = [p.grad.flatten() for p in net.parameters() if p.grad is not None]
    return torch.cat(gradients) if gradients else None


def train_and_record(G, D, record):
    """Train G and D; after each update call record("D") or record("G")."""

    def hook(optimizer, *_):
        is_d = optimizer.param_groups[0]["params"][0] is next(D.parameters())
        record("D" if is_d else "G")

    handle = register_optimizer_step_post_hook(hook)
    try:
        gan_1d.train(gan_1d.R, gan_1d.I, G, D)
    finally:
        handle.remove()


def identity_D():
    """A D whose logit is the sample itself."""
    net = torch.nn.Linear(1, 1)
    torch.nn.init.ones_(net.weight)
    torch.nn.init.zeros_(net.bias)
    return net


def constant_G(value):
    """A G whose fakes are all this value."""
    net = torch.nn.Linear(gan_1d.NOISE_DIM, 1)
    torch.nn.init.zeros_(net.weight)
    torch.nn.init.constant_(net.bias, value)
    return net


def constant_R(value):
    """An R whose samples are all this value."""
    return lambda n: torch.full((n, 1), value)


def uniform(n):
    """What a user may put in the place of R: uniform between 10 and 40."""
    return 10 + 30 * torch.rand(n, 1)


def perfect_normal(n):
    """n samples, shape (n, 1), whose distribution is normal without any chance: its quantiles."""
    return torch.special.ndtri((torch.arange(n) + 0.5) / n)[:, None]


def printed(capsys):
    """The printed lines, each as a list of its words."""
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def source_with(**constants):
    """The text of the script, with other values in the lines of its constants."""
    source = SCRIPT.read_text(encoding="utf-8")
    for name, value in constants.items():
        source, found = re.subn(rf"^{name} = .*", f"{name} = {value!r}", source, flags=re.M)
        assert found == 1
    return source


# ----- the samples -----


def test_real_samples_are_normal_with_the_mean_and_std_of_the_constants(monkeypatch):
    monkeypatch.setattr(gan_1d, "REAL_MEAN", -30.0)
    monkeypatch.setattr(gan_1d, "REAL_STD", 2.0)
    x = gan_1d.R(100_000)
    assert x.shape == (100_000, 1)
    assert x.dtype == torch.float32
    # A normal's own distribution function makes it uniform: 10,000 samples in each tenth.
    tenths = torch.histc(torch.special.ndtr((x + 30) / 2), 10, 0, 1)
    assert tenths.tolist() == approx([10_000] * 10, abs=500)


def test_noise_is_uniform_and_noise_dim_wide(monkeypatch):
    monkeypatch.setattr(gan_1d, "NOISE_DIM", 3)
    z = gan_1d.I(100_000)
    assert z.shape == (100_000, 3)
    for column in z.T:
        assert torch.histc(column, 10, -1.5, 1.5).tolist() == approx([10_000] * 10, abs=500)


# ----- the networks -----


def test_nets_have_two_hidden_layers_as_wide_as_the_constants_say(monkeypatch):
    monkeypatch.setattr(gan_1d, "NOISE_DIM", 3)
    monkeypatch.setattr(gan_1d, "G_HIDDEN", 5)
    monkeypatch.setattr(gan_1d, "D_HIDDEN", 7)
    G, D = new_nets()
    assert [p.shape for p in G.parameters() if p.dim() == 2] == [(5, 3), (5, 5), (1, 5)]
    assert [p.shape for p in D.parameters() if p.dim() == 2] == [(7, 1), (7, 7), (1, 7)]


def test_G_and_D_return_one_number_for_each_row():
    G, D = new_nets()
    fake = G(gan_1d.I(10))
    assert fake.shape == (10, 1)
    assert D(fake).shape == (10, 1)


def test_the_exponent_of_G_is_that_of_a_power_of_ten():
    G, _ = new_nets()
    z = gan_1d.I(10)
    fake = G(z)
    torch.nn.init.constant_(G.exponent, 2)
    torch.testing.assert_close(G(z), 100 * fake)


def test_G_does_not_start_as_an_odd_function():
    """As with biases of 0, for which G(-z) = -G(z). Such a G learns the bell less well."""
    G, _ = new_nets()
    z = gan_1d.I(1000)
    assert (G(-z) + G(z)).abs().mean() > 0.1 * G(z).abs().mean()


def test_D_returns_logits_which_no_sigmoid_has_bounded():
    _, D = new_nets()
    assert D(torch.tensor([[1e6]])).abs() > 10


def test_D_judges_each_sample_by_itself():
    _, D = new_nets()
    x = gan_1d.R(10)
    one_by_one = torch.cat([D(sample[None]) for sample in x])
    torch.testing.assert_close(D(x), one_by_one)


def test_D_standardizes_its_input_by_the_samples_it_is_given():
    real = gan_1d.R(1000)
    D = gan_1d.Discriminator(real)
    D_in_other_units = gan_1d.Discriminator(1000 * real + 7)
    for p, q in zip(D_in_other_units.parameters(), D.parameters(), strict=True):
        p.data = q.data
    x = gan_1d.R(10)
    torch.testing.assert_close(D_in_other_units(1000 * x + 7), D(x), rtol=1e-3, atol=1e-4)


def test_the_mean_and_std_of_D_are_saved_and_loaded_with_it():
    D = gan_1d.Discriminator(gan_1d.R(1000))
    loaded = gan_1d.Discriminator(100 * gan_1d.R(1000))
    loaded.load_state_dict(D.state_dict())
    x = gan_1d.R(10)
    assert torch.equal(loaded(x), D(x))


# ----- the loss -----


@pytest.mark.parametrize("label, wanted", [(1, [2 / 3, 1 / 4]), (0, [1 / 3, 3 / 4])])
def test_bce_is_the_mean_of_minus_the_log_of_the_probability_of_the_label(label, wanted):
    logits = torch.tensor([[2.0], [1 / 3]]).log()  # The odds are 2 to 1, and 1 to 3.
    costs = [-math.log(probability) for probability in wanted]
    assert gan_1d.bce(logits, label).item() == approx(sum(costs) / 2)


def test_bce_has_a_gradient_even_if_D_is_sure():
    logit = torch.tensor([[-200.0]], requires_grad=True)
    gan_1d.bce(logit, 1).backward()
    assert logit.grad.item() == -1


# ----- the game -----


@pytest.mark.usefixtures("no_learning")
def test_in_each_turn_every_kind_of_sample_has_its_label(monkeypatch):
    monkeypatch.setattr(gan_1d, "STEPS", 2)
    monkeypatch.setattr(gan_1d, "D_STEPS", 2)
    labels = []
    bce = gan_1d.bce

    def recording_bce(logits, label):
        labels.append(("real" if logits.mean() > 0 else "fake", label))
        return bce(logits, label)

    monkeypatch.setattr(gan_1d, "bce", recording_bce)
    gan_1d.train(constant_R(10.0), gan_1d.I, constant_G(-10), identity_D())
    turn_of_d = [("real", 1), ("fake", 0)]
    turn_of_g = [("fake", 1)]
    assert labels == (turn_of_d * 2 + turn_of_g) * 2


def test_no_gradient_reaches_G_in_Ds_turn(monkeypatch):
    monkeypatch.setattr(gan_1d, "STEPS", 1)  # After G's turn, G has gradients of its own.
    G, D = new_nets()
    gradients_of_g = []

    def record(name):
        if name == "D":
            gradients_of_g.append(gradients_of(G))

    train_and_record(G, D, record)
    assert gradients_of_g == [None] * gan_1d.D_STEPS


@pytest.mark.usefixtures("no_learning")
@pytest.mark.parametrize("name", ["G", "D"])
def test_no_gradient_is_left_over_from_another_update(monkeypatch, name):
    # Nothing changes, neither the nets nor their samples, so all gradients must be alike.
    monkeypatch.setattr(gan_1d, "R", lambda n: torch.linspace(3, 5, n)[:, None])
    monkeypatch.setattr(gan_1d, "I", lambda n: torch.linspace(-1, 1, 2 * n).reshape(n, 2))
    G, D = new_nets()
    nets = {"G": G, "D": D}
    gradients = []

    def record(updated):
        if updated == name:
            gradients.append(gradients_of(nets[name]))

    train_and_record(G, D, record)
    assert len(gradients) > 1
    for gradient in gradients:
        assert torch.equal(gradient, gradients[0])


@pytest.mark.usefixtures("no_learning")
def test_real_samples_and_fakes_go_through_D_in_batches_of_their_own():
    """So that batch norm, in a D that has it, sees one kind at a time."""
    D = identity_D()
    batches = []
    D.register_forward_hook(lambda net, inputs, logits: batches.append(inputs[0]))
    gan_1d.train(constant_R(10.0), gan_1d.I, constant_G(-10), D)
    kinds = [set(batch.flatten().tolist()) for batch in batches]
    assert {10.0} in kinds
    assert {-10.0} in kinds
    assert {-10.0, 10.0} not in kinds


def algorithm_1(G, D, real, noise):
    """Two steps of two updates of D and one of G, with the rates and the optimizer of the script.

    Each gradient is computed by itself, so that none can be left over from another update.
    """
    adam_d = torch.optim.Adam(D.parameters(), betas=gan_1d.BETAS)
    adam_g = torch.optim.Adam(G.parameters(), betas=gan_1d.BETAS)

    def update(net, adam, rate, loss):
        for p, gradient in zip(net.parameters(), torch.autograd.grad(loss, [*net.parameters()])):
            p.grad = gradient
        adam.param_groups[0]["lr"] = rate
        adam.step()

    for rate_g in gan_1d.G_LR, gan_1d.G_LR * 0.5**1.5:
        for _ in range(2):
            d_real, d_fake = D(next(real)).sigmoid(), D(G(next(noise))).sigmoid()
            loss = -d_real.log().mean() - (1 - d_fake).log().mean()
            update(D, adam_d, gan_1d.D_LR, loss)
        loss = -D(G(next(noise))).sigmoid().log().mean()
        update(G, adam_g, rate_g, loss)
    return G, D


def test_two_steps_are_those_of_algorithm_1_written_out(monkeypatch):
    monkeypatch.setattr(gan_1d, "STEPS", 2)
    monkeypatch.setattr(gan_1d, "D_STEPS", 2)
    size = gan_1d.BATCH_SIZE
    real_batches = [4 + torch.randn(size, 1) for _ in range(4)]
    noise_batches = [torch.rand(size, 2) for _ in range(6)]
    G, D = new_nets()
    wanted = algorithm_1(
        copy.deepcopy(G), copy.deepcopy(D), iter(real_batches), iter(noise_batches)
    )

    real, noise = iter(real_batches), iter(noise_batches)
    R = lambda n: next(real) if n == size else gan_1d.R(n)
    I = lambda n: next(noise) if n == size else gan_1d.I(n)
    gan_1d.train(R, I, G, D)

    torch.testing.assert_close(weights(G), weights(wanted[0]))
    torch.testing.assert_close(weights(D), weights(wanted[1]))
    assert not list(real) + list(noise)  # All batches were used.


def test_train_plays_with_data_and_nets_of_any_shape():
    R = lambda n: torch.randn(n, 3, 2)
    I = lambda n: torch.randn(n, 4)
    G = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Unflatten(1, (3, 2)))
    D = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 1))
    before = weights(G)
    gan_1d.train(R, I, G, D)
    assert not torch.equal(before, weights(G))


@pytest.mark.usefixtures("no_picture")
def test_the_seed_decides_what_is_learned(monkeypatch):
    first, again = gan_1d.main(), gan_1d.main()
    monkeypatch.setattr(gan_1d, "SEED", 1)
    other = gan_1d.main()
    for net, same_seed, other_seed in zip(first, again, other):
        assert torch.equal(weights(net), weights(same_seed))
        assert not torch.equal(weights(net), weights(other_seed))


def test_printing_more_often_changes_neither_the_nets_nor_the_history(monkeypatch):
    monkeypatch.setattr(gan_1d, "STEPS", 300)
    monkeypatch.setattr(gan_1d, "D_STEPS", 1)
    results = []
    for log_every in 1000, 1:
        monkeypatch.setattr(gan_1d, "LOG_EVERY", log_every)
        torch.manual_seed(0)
        G, D = new_nets()
        history = gan_1d.train(gan_1d.R, gan_1d.I, G, D)
        results.append((history, weights(G).tolist(), weights(D).tolist()))
    assert results[0] == results[1]


def test_a_loss_that_is_not_finite_ends_the_game_at_that_step(monkeypatch):
    monkeypatch.setattr(gan_1d, "D_STEPS", 1)
    batches = []

    def R(n):
        batches.append(n)
        bad = batches.count(gan_1d.BATCH_SIZE) == 3
        return torch.full((n, 1), torch.nan) if bad else torch.randn(n, 1)

    with pytest.raises(AssertionError, match=r"not finite at step 3$"):
        gan_1d.train(R, gan_1d.I, *new_nets())


def test_an_update_that_ruins_D_ends_the_game_in_the_same_step(monkeypatch):
    monkeypatch.setattr(gan_1d, "D_LR", 1e30)
    with pytest.raises(AssertionError, match=r"not finite at step 1$"):
        gan_1d.train(gan_1d.R, gan_1d.I, *new_nets())


def test_without_updates_of_D_there_is_no_game(monkeypatch):
    monkeypatch.setattr(gan_1d, "D_STEPS", 0)
    with pytest.raises(AssertionError, match="D_STEPS"):
        gan_1d.train(gan_1d.R, gan_1d.I, *new_nets())


@pytest.mark.parametrize("steps", [0, 1])
def test_even_the_shortest_games_are_drawn(monkeypatch, steps):
    monkeypatch.setattr(gan_1d, "STEPS", steps)
    gan_1d.main()
    assert os.listdir() == ["gan_1d.png"]


# ----- what is measured -----


def columns(capsys):
    """What train has printed: for each column, its name and the numbers below it."""
    header, *lines = capsys.readouterr().out.splitlines()
    names = re.split(" {2,}", header.strip())
    return dict(zip(names, zip(*[line.split() for line in lines], strict=True), strict=True))


@pytest.mark.usefixtures("no_learning")
def test_the_printed_numbers_are_those_of_the_game(capsys):
    # The logit is the sample itself: ln 3 for real samples, so D(x) = 3/4, and 0 for fakes.
    gan_1d.train(constant_R(math.log(3)), gan_1d.I, constant_G(0.0), identity_D())
    table = columns(capsys)
    wanted = {
        "D loss": (2 * math.log(2), math.log(4 / 3) + math.log(2)),
        "G loss": (math.log(2), math.log(2)),
        "D(real)": (0.5, 0.75),
        "D(fake)": (0.5, 0.5),
        "mean": (math.log(3), 0),
        "std": (0, 0),
    }
    assert table.pop("step") == ("goal", "1", "5")
    assert list(table) == list(wanted)
    for name, (goal, value) in wanted.items():
        assert [float(word) for word in table[name]] == approx([goal, value, value], abs=1e-3)


@pytest.mark.usefixtures("no_learning")
def test_another_loss_in_the_loop_is_the_loss_that_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(gan_1d, "bce", lambda logits, label: 0 * logits.mean() + 3 + 4 * label)
    gan_1d.train(gan_1d.R, gan_1d.I, *new_nets())
    table = columns(capsys)
    assert [float(word) for word in table["D loss"][1:]] == [10, 10]
    assert [float(word) for word in table["G loss"][1:]] == [7, 7]


def test_a_line_is_printed_for_the_first_step_every_log_every_and_the_last(monkeypatch, capsys):
    monkeypatch.setattr(gan_1d, "STEPS", 10)
    monkeypatch.setattr(gan_1d, "LOG_EVERY", 4)
    gan_1d.train(gan_1d.R, gan_1d.I, *new_nets())
    assert columns(capsys)["step"] == ("goal", "1", "4", "8", "10")


def test_the_history_goes_from_the_first_step_to_the_last_in_growing_strides(monkeypatch):
    monkeypatch.setattr(gan_1d, "STEPS", 400)
    monkeypatch.setattr(gan_1d, "D_STEPS", 1)
    history = gan_1d.train(gan_1d.R, gan_1d.I, *new_nets())
    steps = [step for step, _, _ in history]
    assert steps[:5] == [1, 2, 3, 4, 5]
    assert steps[-1] == 400
    assert steps == sorted(steps)
    strides = [later - step for step, later in zip(steps, steps[1:])]
    assert 50 < len(steps) <= 100
    assert strides[-1] > 10


def test_the_history_has_the_mean_and_std_of_the_fakes():
    G, D = new_nets()
    *_, (step, mean, std) = gan_1d.train(gan_1d.R, gan_1d.I, G, D)
    fake = G(gan_1d.I(100_000))
    assert step == gan_1d.STEPS
    assert mean == approx(fake.mean().item(), abs=0.1 * fake.std().item())
    assert std == approx(fake.std().item(), rel=0.1)


@pytest.mark.usefixtures("no_learning")
def test_the_fakes_of_the_history_always_come_from_the_same_noise():
    history = gan_1d.train(gan_1d.R, gan_1d.I, *new_nets())
    assert len(history) == 5
    assert len({(mean, std) for _, mean, std in history}) == 1


HALF_WIDTH = 3**0.5  # of a flat block whose standard deviation is 1


@pytest.mark.parametrize("scale", [1, 1000])
@pytest.mark.parametrize(
    "change, wanted",
    [
        pytest.param(lambda real: real, 0, id="the same"),
        pytest.param(lambda real: real + 0.2, 0.2, id="shifted by 0.2 standard deviations"),
        pytest.param(
            lambda real: torch.linspace(-HALF_WIDTH, HALF_WIDTH, len(real))[:, None],
            0.154,
            id="a flat block",
        ),
        pytest.param(lambda real: 0 * real, 0.798, id="a single point"),
        pytest.param(lambda real: 2 * real, 0.798, id="twice as wide"),
    ],
)
def test_the_distance_of_known_fakes(change, wanted, scale):
    real = perfect_normal(100_000)
    fake = change(real)
    shuffled = torch.randperm(100_000)
    numbers = gan_1d.describe(scale * fake, scale * real[shuffled])
    assert numbers["distance"] == approx(wanted, abs=0.001)


def test_the_distance_does_not_depend_on_the_order_of_the_fakes():
    real = perfect_normal(1000)
    assert gan_1d.describe(real.flip(0), real)["distance"] == 0


def test_the_moments_of_an_exponential():
    shares = (torch.arange(100_000) + 0.5) / 100_000
    x = 3 - 5 * (1 - shares).log()[:, None]  # It starts at 3, and its mean distance from 3 is 5.
    numbers = gan_1d.describe(x, perfect_normal(100_000))
    assert numbers["mean"] == approx(8, rel=0.01)
    assert numbers["std"] == approx(5, rel=0.01)
    assert numbers["skewness"] == approx(2, rel=0.01)
    assert numbers["kurtosis"] == approx(6, rel=0.02)


# ----- data of the user's own -----


@pytest.mark.usefixtures("no_picture")
def test_the_goal_line_follows_another_R(monkeypatch, capsys):
    monkeypatch.setattr(gan_1d, "R", uniform)
    gan_1d.main()
    [goal] = [words for words in printed(capsys) if words[:1] == ["goal"]]
    assert [float(word) for word in goal[-2:]] == approx([25, 30 / 12**0.5], rel=0.03)


@pytest.mark.usefixtures("no_picture")
def test_the_final_table_follows_another_R(monkeypatch, capsys):
    monkeypatch.setattr(gan_1d, "R", uniform)
    G, _ = gan_1d.main()
    *_, real, fake = printed(capsys)
    wanted = gan_1d.describe(G(gan_1d.I(100_000)).detach(), uniform(100_000))
    assert real[0] == "real" and float(real[1]) == approx(25, rel=0.01)
    assert fake[0] == "fake" and float(fake[-1]) == approx(wanted["distance"], rel=0.02)
    assert 0 < float(real[-1]) < 0.02  # from other real samples, by chance


@pytest.mark.usefixtures("no_picture")
def test_D_in_main_is_standardized_by_another_R(monkeypatch):
    monkeypatch.setattr(gan_1d, "R", uniform)
    _, D = gan_1d.main()
    assert D.mean.item() == approx(25, rel=0.02)
    assert D.std.item() == approx(30 / 12**0.5, rel=0.02)


@pytest.mark.usefixtures("no_picture")
@pytest.mark.parametrize("mean, std", [(52_000.0, 15_000.0), (0.0, 0.0001)])
def test_columns_stay_apart_and_show_digits_whatever_the_scale(monkeypatch, capsys, mean, std):
    monkeypatch.setattr(gan_1d, "REAL_MEAN", mean)
    monkeypatch.setattr(gan_1d, "REAL_STD", std)
    gan_1d.main()
    lines = printed(capsys)
    [goal] = [words for words in lines if words[:1] == ["goal"]]
    [real] = [words for words in lines if words[:1] == ["real"]]
    assert len(goal) == 7 and float(goal[6]) == approx(std, rel=0.05)
    assert len(real) == 6 and float(real[2]) == approx(std, rel=0.05)


BAD_R = [
    (lambda n: torch.randn(n), "shape"),
    (lambda n: torch.randn(n, 2), "shape"),
    (lambda n: torch.randn(20_000, 1)[:n], "shape"),
    (lambda n: torch.randn(n, 1).double(), "float32"),
    (lambda n: torch.randn(n, 1).round().int(), "float32"),
    (lambda n: torch.full((n, 1), torch.nan), "NaN"),
    (lambda n: torch.randn(n, 1) / torch.arange(n)[:, None], "infinity"),
    (lambda n: torch.full((n, 1), 0.1), "more than one value"),
]


@pytest.mark.parametrize("R, words", BAD_R)
def test_an_R_that_cannot_be_learned_is_refused_before_the_training(monkeypatch, R, words):
    monkeypatch.setattr(gan_1d, "R", R)
    monkeypatch.setattr(gan_1d, "train", lambda *_: pytest.fail("The training has begun."))
    with pytest.raises(AssertionError, match=rf"\bR\b.*{words}"):
        gan_1d.main()


# ----- the script as a whole -----


IMPORT = """
import torch
torch.set_num_threads(2)
torch.manual_seed(5)
before = torch.get_rng_state()

import gan_1d

assert torch.get_num_threads() == 2
assert torch.equal(before, torch.get_rng_state())
assert gan_1d.plt.get_fignums() == []
"""


def test_importing_it_only_defines(capfd):
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", IMPORT], check=True, env=env)
    assert capfd.readouterr() == ("", "")
    assert os.listdir() == []


def test_pasted_into_a_notebook_cell_it_runs_twice_and_keeps_both_nets():
    cell = {"__name__": "__main__"}
    exec(source_with(STEPS=5, PLOT_FILE="pasted.png"), cell)
    first = cell["G"], cell["D"]
    exec(source_with(STEPS=5, PLOT_FILE="pasted.png"), cell)
    assert torch.equal(weights(first[0]), weights(cell["G"]))
    assert torch.equal(weights(first[1]), weights(cell["D"]))
    assert os.listdir() == ["pasted.png"]


def test_running_it_leaves_rcparams_dtype_grad_mode_and_folder_alone():
    plt.rcdefaults()
    before = dict(plt.rcParams), torch.get_default_dtype(), torch.is_grad_enabled(), os.getcwd()
    gan_1d.main()
    after = dict(plt.rcParams), torch.get_default_dtype(), torch.is_grad_enabled(), os.getcwd()
    assert before == after


def test_it_runs_in_a_session_whose_default_is_float64():
    torch.set_default_dtype(torch.float64)
    try:
        G, D = gan_1d.main()
        assert D(G(gan_1d.I(10))).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("no_picture")
def test_running_it_sets_one_thread():
    torch.set_num_threads(2)
    gan_1d.main()
    assert torch.get_num_threads() == 1


def test_the_picture_is_saved_under_its_name_and_then_shown(monkeypatch):
    files_when_shown = []
    monkeypatch.setattr(gan_1d, "PLOT_FILE", "my.png")
    monkeypatch.setattr(plt, "show", lambda: files_when_shown.append(os.listdir()))
    gan_1d.main()
    assert files_when_shown == [["my.png"]]


GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no CUDA GPU.")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
def test_the_command_learns_the_bell_and_saves_a_picture(device):
    env = os.environ | {"MPLBACKEND": "Agg", "PYTHONWARNINGS": "ignore:FigureCanvasAgg"}
    if device == "cpu":
        env["CUDA_VISIBLE_DEVICES"] = ""
    run = subprocess.run([sys.executable, SCRIPT], env=env, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    first, *_, real, fake, where = [line.split() for line in run.stdout.splitlines()]
    assert first == ["Training", "on", device]
    assert real[0] == "real" and 0 < float(real[-1]) < 0.02
    assert fake[0] == "fake" and 0 < float(fake[-1]) < 0.045  # A flat block would have 0.154.
    assert where[-1] == "gan_1d.png"
    assert plt.imread("gan_1d.png")[..., :3].std() > 0.05  # It is not blank.


def test_main_works_with_noise_of_one_number(monkeypatch):
    monkeypatch.setattr(gan_1d, "NOISE_DIM", 1)
    G, _ = gan_1d.main()
    assert G(torch.zeros(10, 1)).shape == (10, 1)


@pytest.mark.usefixtures("no_picture")
def test_it_learns_data_that_are_far_away(monkeypatch):
    monkeypatch.setattr(gan_1d, "REAL_MEAN", 100.0)
    monkeypatch.setattr(gan_1d, "REAL_STD", 15.0)
    monkeypatch.setattr(gan_1d, "STEPS", 500)
    monkeypatch.setattr(gan_1d, "BATCH_SIZE", 256)
    G, _ = gan_1d.main()
    fake = G(gan_1d.I(100_000)).detach()
    assert gan_1d.describe(fake, gan_1d.R(100_000))["distance"] < 0.1


# ----- the picture -----


def test_it_shows_the_whole_history_and_the_samples_that_are_compared(monkeypatch):
    calls = {"describe": [], "plot": []}
    describe = gan_1d.describe

    def recording_describe(x, real):
        calls["describe"].append((x, real))
        return describe(x, real)

    monkeypatch.setattr(gan_1d, "describe", recording_describe)
    monkeypatch.setattr(gan_1d, "plot", lambda *arguments: calls["plot"].append(arguments))
    monkeypatch.setattr(gan_1d, "R", uniform)
    _, D = gan_1d.main()
    [(history, real, fake, drawn_D)] = calls["plot"]
    assert [step for step, _, _ in history] == [1, 2, 3, 4, 5]
    [_, (compared_fake, compared_real)] = calls["describe"]
    assert torch.equal(real, compared_real)
    assert torch.equal(fake, compared_fake)
    assert drawn_D is D


@pytest.mark.parametrize("panel, goal", [(0, 25), (1, 30 / 12**0.5)])
def test_the_dashed_lines_are_at_the_mean_and_std_of_R(monkeypatch, panel, goal):
    monkeypatch.setattr(gan_1d, "R", uniform)
    gan_1d.main()
    dashed, _ = plt.gcf().axes[panel].lines
    assert dashed.get_ydata()[0] == approx(goal, rel=0.01)


def test_the_average_gap_between_the_sorted_samples_is_the_printed_distance(capsys):
    gan_1d.main()
    *_, fake, _ = printed(capsys)
    real_line, fake_line = plt.gcf().axes[3].lines
    gaps = abs(fake_line.get_ydata() - real_line.get_ydata())
    assert gaps.mean() / gan_1d.REAL_STD == approx(float(fake[-1]), rel=0.02)


def test_batch_norm_in_both_nets_does_not_make_D_depend_on_the_points_that_are_drawn(monkeypatch):
    class GWithBatchNorm(gan_1d.Generator):
        def __init__(self):
            super().__init__()
            self.net.insert(1, torch.nn.BatchNorm1d(gan_1d.G_HIDDEN))

    class DWithBatchNorm(gan_1d.Discriminator):
        def __init__(self, real):
            super().__init__(real)
            self.net.insert(1, torch.nn.BatchNorm1d(gan_1d.D_HIDDEN))

    monkeypatch.setattr(gan_1d, "Generator", GWithBatchNorm)
    monkeypatch.setattr(gan_1d, "Discriminator", DWithBatchNorm)
    G, D = gan_1d.main()
    _, curve = plt.gcf().axes[4].lines
    x, drawn = curve.get_data()
    alone = D(torch.tensor([[x[0]]])).sigmoid().item()
    assert drawn[0] == approx(alone, abs=1e-5)
    z = gan_1d.I(100)
    torch.testing.assert_close(G(z)[:1], G(z[:1]))
    gan_1d.train(gan_1d.R, gan_1d.I, G, D)
    assert G.training and D.training
