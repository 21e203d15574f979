"""What a user of gan_1d.py relies on: python -m pytest tests"""

import copy
import math
import os
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


@pytest.fixture(autouse=True)
def a_short_game_in_an_empty_folder(monkeypatch, tmp_path):
    """Keep the games of the tests short, on the CPU, and their pictures out of the project."""
    monkeypatch.setattr(gan_1d, "DEVICE", "cpu")
    monkeypatch.setattr(gan_1d, "STEPS", 5)
    monkeypatch.setattr(gan_1d, "BATCH_SIZE", 16)
    monkeypatch.setattr(plt, "show", lambda: None)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    yield
    plt.close("all")


@pytest.fixture
def no_picture(monkeypatch):
    """Save the time of drawing, where only what main learns or prints is the matter."""
    monkeypatch.setattr(gan_1d, "plot", lambda *_: None)


def new_nets():
    return gan_1d.Generator(), gan_1d.Discriminator(gan_1d.R(1000))


def weights(net):
    """All weights of a net, in one vector of their own, which no update changes."""
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def train_and_record(G, D, record):
    """Train G and D; after each update call record("D" or "G", the optimizer that made it)."""

    def hook(optimizer, *_):
        is_d = optimizer.param_groups[0]["params"][0] is next(D.parameters())
        record("D" if is_d else "G", optimizer)

    handle = register_optimizer_step_post_hook(hook)
    try:
        gan_1d.train(gan_1d.R, gan_1d.I, G, D)
    finally:
        handle.remove()


def identity_net():
    """A D whose logit is the sample itself."""
    net = torch.nn.Linear(1, 1)
    torch.nn.init.ones_(net.weight)
    torch.nn.init.zeros_(net.bias)
    return net


def constant_net(value):
    """A G whose fakes are all this value."""
    net = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(net.weight)
    torch.nn.init.constant_(net.bias, value)
    return net


def gradients_of(net):
    """All gradients of a net, in one vector of their own; None if it has none."""
    gradients = [p.grad.flatten() for p in net.parameters() if p.grad is not None]
    return torch.cat(gradients) if gradients else None


def perfect_normal(n):
    """n samples, shape (n, 1), whose distribution is normal without any chance: its quantiles."""
    return torch.special.ndtri((torch.arange(n) + 0.5) / n)[:, None]


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


def test_noise_is_uniform_between_minus_1_and_1_and_noise_dim_wide(monkeypatch):
    monkeypatch.setattr(gan_1d, "NOISE_DIM", 2)
    z = gan_1d.I(100_000)
    assert z.shape == (100_000, 2)
    for column in z.T:
        assert torch.histc(column, 10, -1, 1).tolist() == approx([10_000] * 10, abs=500)


def test_the_columns_of_the_noise_are_independent(monkeypatch):
    monkeypatch.setattr(gan_1d, "NOISE_DIM", 2)
    correlation = torch.corrcoef(gan_1d.I(100_000).T)[0, 1]
    assert correlation == approx(0, abs=0.02)


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

LOGITS = [0.0, 1.0, 20.0, -20.0, 100.0, -100.0]  # With the last four, D is sure.


def exact_loss(logit, label):
    """-log D(x) for label 1, -log(1 - D(x)) for label 0, by the formula, in float64."""
    probability_of_label = torch.sigmoid(logit.double() if label == 1 else -logit.double())
    return -probability_of_label.log()


@pytest.mark.parametrize("label", [1, 0])
@pytest.mark.parametrize("value", LOGITS)
def test_bce_is_minus_the_log_of_the_probability_of_the_label(value, label):
    logit = torch.tensor([[value]])
    assert gan_1d.bce(logit, label).item() == approx(exact_loss(logit, label).item(), abs=1e-7)


@pytest.mark.parametrize("label", [1, 0])
@pytest.mark.parametrize("value", LOGITS)
def test_the_slope_of_bce_is_exact_even_if_D_is_sure(value, label):
    logit = torch.tensor([[value]], requires_grad=True)
    [slope] = torch.autograd.grad(gan_1d.bce(logit, label), logit)
    [wanted] = torch.autograd.grad(exact_loss(logit, label), logit)
    assert slope.item() == approx(wanted.item(), abs=1e-7)


def test_bce_is_a_mean_over_the_batch():
    logits = torch.tensor([[1.0], [-3.0]])
    one_by_one = [gan_1d.bce(logit, 1).item() for logit in logits]
    assert gan_1d.bce(logits, 1).item() == approx(sum(one_by_one) / 2)


# ----- the game -----


def test_in_each_step_D_has_its_updates_and_then_G_has_one(monkeypatch):
    monkeypatch.setattr(gan_1d, "D_STEPS", 2)
    turns = []
    train_and_record(*new_nets(), lambda name, _: turns.append(name))
    assert turns == ["D", "D", "G"] * gan_1d.STEPS


def test_in_each_turn_every_kind_of_sample_has_its_label(monkeypatch):
    monkeypatch.setattr(gan_1d, "STEPS", 2)
    monkeypatch.setattr(gan_1d, "G_LR", 0.0)
    monkeypatch.setattr(gan_1d, "D_LR", 0.0)
    labels = []
    bce = gan_1d.bce

    def recording_bce(logits, label):
        if logits.requires_grad:  # evaluate, which does not train, is not recorded.
            labels.append(("real" if logits.mean() > 0 else "fake", label))
        return bce(logits, label)

    monkeypatch.setattr(gan_1d, "bce", recording_bce)
    # The logit is the sample itself. All real samples are 10, and all fakes are -10.
    gan_1d.train(lambda n: torch.full((n, 1), 10.0), gan_1d.I, constant_net(-10), identity_net())
    turn_of_d = [("real", 1), ("fake", 0)]
    assert labels == (turn_of_d * gan_1d.D_STEPS + [("fake", 1)]) * 2


def test_an_update_changes_one_net_and_leaves_the_other_alone():
    G, D = new_nets()
    states = [("", weights(G), weights(D))]
    train_and_record(G, D, lambda name, _: states.append((name, weights(G), weights(D))))
    assert {name for name, _, _ in states[1:]} == {"D", "G"}
    for (_, g_before, d_before), (name, g_after, d_after) in zip(states, states[1:]):
        assert torch.equal(g_before, g_after) == (name == "D")
        assert torch.equal(d_before, d_after) == (name == "G")


def test_no_gradient_reaches_G_in_Ds_turn(monkeypatch):
    monkeypatch.setattr(gan_1d, "STEPS", 1)  # After G's turn, G has gradients of its own.
    G, D = new_nets()
    gradients_of_g = []

    def record(name, _):
        if name == "D":
            gradients_of_g.append(gradients_of(G))

    train_and_record(G, D, record)
    assert gradients_of_g == [None] * gan_1d.D_STEPS


@pytest.mark.parametrize("name", ["G", "D"])
def test_no_gradient_is_left_over_from_another_update(monkeypatch, name):
    # Nothing changes, neither the nets nor their samples, so all gradients must be alike.
    monkeypatch.setattr(gan_1d, "G_LR", 0.0)
    monkeypatch.setattr(gan_1d, "D_LR", 0.0)
    monkeypatch.setattr(gan_1d, "R", lambda n: torch.linspace(3, 5, n)[:, None])
    monkeypatch.setattr(gan_1d, "I", lambda n: torch.linspace(-1, 1, n)[:, None])
    G, D = new_nets()
    nets = {"G": G, "D": D}
    gradients = []

    def record(updated, _):
        if updated == name:
            gradients.append(gradients_of(nets[name]))

    train_and_record(G, D, record)
    assert len(gradients) > 1
    for gradient in gradients:
        assert torch.equal(gradient, gradients[0])


def test_real_samples_and_fakes_go_through_D_in_batches_of_their_own(monkeypatch):
    """So that batch norm, in a D that has it, sees one kind at a time."""
    monkeypatch.setattr(gan_1d, "G_LR", 0.0)
    G, D = constant_net(-10), identity_net()
    batches = []
    D.register_forward_hook(lambda net, inputs, logits: batches.append(inputs[0]))
    gan_1d.train(lambda n: torch.full((n, 1), 10.0), gan_1d.I, G, D)
    kinds = [set(batch.flatten().tolist()) for batch in batches]
    assert {10.0} in kinds
    assert {-10.0} in kinds
    assert {-10.0, 10.0} not in kinds


@pytest.mark.parametrize("sampler, updates", [("R", gan_1d.D_STEPS), ("I", gan_1d.D_STEPS + 1)])
def test_every_update_has_samples_of_its_own(monkeypatch, sampler, updates):
    draw = getattr(gan_1d, sampler)
    batches = []

    def recording_sampler(n):
        batch = draw(n)
        if n == gan_1d.BATCH_SIZE:
            batches.append(batch)
        return batch

    nets = new_nets()
    monkeypatch.setattr(gan_1d, sampler, recording_sampler)
    gan_1d.train(gan_1d.R, gan_1d.I, *nets)
    assert len(batches) == updates * gan_1d.STEPS
    assert len(torch.cat(batches).unique()) == len(batches) * gan_1d.BATCH_SIZE


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

    for remaining in 1.0, 0.5:
        for _ in range(2):
            d_real, d_fake = D(next(real)).sigmoid(), D(G(next(noise))).sigmoid()
            loss = -d_real.log().mean() - (1 - d_fake).log().mean()
            update(D, adam_d, gan_1d.D_LR * remaining**0.5, loss)
        loss = -D(G(next(noise))).sigmoid().log().mean()
        update(G, adam_g, gan_1d.G_LR * remaining, loss)
    return G, D


def test_two_steps_are_those_of_algorithm_1_written_out(monkeypatch):
    monkeypatch.setattr(gan_1d, "STEPS", 2)
    monkeypatch.setattr(gan_1d, "D_STEPS", 2)
    size = gan_1d.BATCH_SIZE
    real_batches = [4 + torch.randn(size, 1) for _ in range(4)]
    noise_batches = [torch.rand(size, 1) for _ in range(6)]
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


@pytest.mark.parametrize("net, start, power", [("G", "G_LR", 1), ("D", "D_LR", 0.5)])
def test_the_learning_rate_falls_from_its_constant_to_0(monkeypatch, net, start, power):
    monkeypatch.setattr(gan_1d, "STEPS", 50)
    monkeypatch.setattr(gan_1d, "D_STEPS", 1)
    monkeypatch.setattr(gan_1d, start, 3e-3)
    rates = {"G": [], "D": []}
    train_and_record(
        *new_nets(), lambda name, optimizer: rates[name].append(optimizer.param_groups[0]["lr"])
    )
    assert rates[net] == approx([3e-3 * (1 - step / 50) ** power for step in range(50)])


def test_train_plays_with_data_and_nets_of_any_shape():
    R = lambda n: torch.randn(n, 3, 2)
    I = lambda n: torch.randn(n, 4)
    G = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Unflatten(1, (3, 2)))
    D = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 1))
    before = weights(G)
    gan_1d.train(R, I, G, D)
    assert not torch.equal(before, weights(G))


@pytest.mark.usefixtures("no_picture")
def test_the_same_seed_gives_the_same_generator():
    assert torch.equal(weights(gan_1d.main()), weights(gan_1d.main()))


@pytest.mark.usefixtures("no_picture")
def test_another_seed_gives_another_generator(monkeypatch):
    first = gan_1d.main()
    monkeypatch.setattr(gan_1d, "SEED", 1)
    assert not torch.equal(weights(first), weights(gan_1d.main()))


@pytest.mark.usefixtures("no_picture")
def test_printing_more_often_does_not_change_what_is_learned(monkeypatch):
    monkeypatch.setattr(gan_1d, "STEPS", 40)
    first = gan_1d.main()
    monkeypatch.setattr(gan_1d, "LOG_EVERY", 1)
    assert torch.equal(weights(first), weights(gan_1d.main()))


# ----- what is measured -----


def test_evaluate_returns_losses_averages_of_D_and_the_moments_of_the_fakes():
    real, z = torch.tensor([[0.0], [0.0]]), torch.tensor([[1.0], [3.0]])
    G = lambda z: 2 * z  # The fakes are 2 and 6.
    D = lambda x: x  # The logit is the sample itself.
    row = gan_1d.evaluate(7, G, D, real, z)
    d_2, d_6 = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-6))
    assert row == approx({
        "step": 7,
        "loss_d": math.log(2) - (math.log(1 - d_2) + math.log(1 - d_6)) / 2,
        "loss_g": -(math.log(d_2) + math.log(d_6)) / 2,
        "d_real": 0.5,
        "d_fake": (d_2 + d_6) / 2,
        "mean": 4,
        "std": 8**0.5,
    })


def test_the_history_has_the_first_steps_the_printed_ones_and_the_last(monkeypatch):
    monkeypatch.setattr(gan_1d, "STEPS", 45)
    monkeypatch.setattr(gan_1d, "LOG_EVERY", 19)  # 38 is measured only because it is printed.
    history = gan_1d.train(gan_1d.R, gan_1d.I, *new_nets())
    steps = [row["step"] for row in history]
    assert steps == sorted(set(steps))
    assert {*range(10), 19, 38, 45} <= set(steps)


def test_a_line_is_printed_every_log_every_steps_and_at_the_end(monkeypatch, capsys):
    monkeypatch.setattr(gan_1d, "STEPS", 45)
    monkeypatch.setattr(gan_1d, "LOG_EVERY", 19)
    gan_1d.train(gan_1d.R, gan_1d.I, *new_nets())
    first_words = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert first_words == ["step", "goal", "0", "19", "38", "45"]


def test_a_printed_line_is_a_row_of_the_history_in_the_order_of_the_header(capsys):
    history = gan_1d.train(gan_1d.R, gan_1d.I, *new_nets())
    header, *_, last_line = capsys.readouterr().out.splitlines()
    assert header.replace("D loss", "loss_d").replace("G loss", "loss_g").split() == [
        "step", "loss_d", "loss_g", "D(real)", "D(fake)", "mean", "std"]
    keys = ["step", "loss_d", "loss_g", "d_real", "d_fake", "mean", "std"]
    wanted = [history[-1][key] for key in keys]
    assert [float(word) for word in last_line.split()] == approx(wanted, rel=1e-3, abs=1e-3)


def test_without_a_step_there_is_a_history_of_the_untrained_nets(monkeypatch):
    monkeypatch.setattr(gan_1d, "STEPS", 0)
    history = gan_1d.train(gan_1d.R, gan_1d.I, *new_nets())
    assert [row["step"] for row in history] == [0]


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


def uniform(n):
    """What a user may put in the place of R: uniform between 10 and 40."""
    return 10 + 30 * torch.rand(n, 1)


@pytest.mark.usefixtures("no_picture")
def test_the_goal_line_follows_another_R(monkeypatch, capsys):
    monkeypatch.setattr(gan_1d, "R", uniform)
    gan_1d.main()
    [goal] = [line.split() for line in capsys.readouterr().out.splitlines() if "goal" in line]
    losses_and_averages = [2 * math.log(2), math.log(2), 0.5, 0.5]
    assert [float(word) for word in goal[1:5]] == approx(losses_and_averages, abs=0.0006)
    assert [float(word) for word in goal[5:]] == approx([25, 30 / 12**0.5], rel=0.03)


@pytest.mark.usefixtures("no_picture")
def test_the_final_table_follows_another_R(monkeypatch, capsys):
    monkeypatch.setattr(gan_1d, "R", uniform)
    G = gan_1d.main()
    *_, real, fake = [line.split() for line in capsys.readouterr().out.splitlines()]
    wanted = gan_1d.describe(G(gan_1d.I(100_000)).detach(), uniform(100_000))
    assert real[0] == "real" and float(real[1]) == approx(25, rel=0.01)
    assert fake[0] == "fake" and float(fake[-1]) == approx(wanted["distance"], rel=0.02)
    assert 0 < float(real[-1]) < 0.02  # from other real samples, by chance


@pytest.mark.usefixtures("no_picture")
def test_D_in_main_is_standardized_by_another_R(monkeypatch):
    built_from = []
    Discriminator = gan_1d.Discriminator

    def recording_discriminator(real):
        built_from.append(real.mean().item())
        return Discriminator(real)

    monkeypatch.setattr(gan_1d, "Discriminator", recording_discriminator)
    monkeypatch.setattr(gan_1d, "R", uniform)
    gan_1d.main()
    assert built_from == [approx(25, rel=0.02)]


@pytest.mark.usefixtures("no_picture")
@pytest.mark.parametrize("mean, std", [(52_000.0, 15_000.0), (0.0, 0.0001)])
def test_columns_stay_apart_and_show_digits_whatever_the_scale(monkeypatch, capsys, mean, std):
    monkeypatch.setattr(gan_1d, "REAL_MEAN", mean)
    monkeypatch.setattr(gan_1d, "REAL_STD", std)
    gan_1d.main()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    [goal] = [words for words in lines if words[:1] == ["goal"]]
    [real] = [words for words in lines if words[:1] == ["real"]]
    assert len(goal) == 7 and float(goal[6]) == approx(std, rel=0.05)
    assert len(real) == 6 and float(real[2]) == approx(std, rel=0.05)


WRONG = [
    (lambda n: torch.randn(n), "shape"),
    (lambda n: torch.randn(n, 2), "shape"),
    (lambda n: torch.randn(20_000, 1)[:n], "shape"),
    (lambda n: torch.randn(n, 1).double(), "float32"),
    (lambda n: torch.randn(n, 1).round().int(), "float32"),
    (lambda n: torch.full((n, 1), torch.nan), "NaN"),
    (lambda n: torch.randn(n, 1) / torch.arange(n)[:, None], "infinity"),
    (lambda n: torch.full((n, 1), 0.1), "more than one value"),
]


@pytest.mark.parametrize("R, words", WRONG)
def test_an_R_that_cannot_be_learned_is_refused_before_the_training(monkeypatch, R, words):
    monkeypatch.setattr(gan_1d, "R", R)
    monkeypatch.setattr(gan_1d, "train", lambda *_: pytest.fail("The training has begun."))
    with pytest.raises(AssertionError, match=rf"\bR\b.*{words}"):
        gan_1d.main()


@pytest.mark.parametrize("file", ["no/such/folder/gan_1d.png", "gan_1d.word", "gan_1d"])
def test_a_picture_that_cannot_be_saved_is_refused_before_the_training(monkeypatch, file):
    monkeypatch.setattr(gan_1d, "PLOT_FILE", file)
    monkeypatch.setattr(gan_1d, "train", lambda *_: pytest.fail("The training has begun."))
    with pytest.raises(AssertionError, match="PLOT_FILE"):
        gan_1d.main()
    assert os.listdir() == []


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(monkeypatch):
    monkeypatch.setattr(gan_1d, "D_LR", 1e30)
    with pytest.raises(FloatingPointError, match=r"step 1$"):
        gan_1d.main()


def test_a_run_that_fails_leaves_an_earlier_picture_alone(monkeypatch):
    monkeypatch.setattr(gan_1d, "D_LR", 1e30)
    Path("gan_1d.png").write_text("the picture of an earlier run")
    with pytest.raises(FloatingPointError):
        gan_1d.main()
    assert Path("gan_1d.png").read_text() == "the picture of an earlier run"


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


def test_pasted_into_a_notebook_cell_it_runs_twice_and_keeps_G():
    source = SCRIPT.read_text(encoding="utf-8")
    assert source.count("\nSTEPS = 2000 ") == 1
    source = source.replace("\nSTEPS = 2000 ", "\nSTEPS = 5 ")
    cell = {"__name__": "__main__"}
    exec(source, cell)
    first = cell["G"]
    exec(source, cell)
    assert torch.equal(weights(first), weights(cell["G"]))
    assert os.listdir() == ["gan_1d.png"]


def test_running_it_leaves_rcparams_dtype_grad_mode_and_folder_alone():
    plt.rcdefaults()
    before = dict(plt.rcParams), torch.get_default_dtype(), torch.is_grad_enabled(), os.getcwd()
    gan_1d.main()
    after = dict(plt.rcParams), torch.get_default_dtype(), torch.is_grad_enabled(), os.getcwd()
    assert before == after


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


def test_the_command_learns_the_bell_and_saves_a_picture():
    no_window = {"MPLBACKEND": "Agg", "PYTHONWARNINGS": "ignore:FigureCanvasAgg"}
    run = subprocess.run(
        [sys.executable, SCRIPT], env=os.environ | no_window, capture_output=True, text=True
    )
    assert (run.returncode, run.stderr) == (0, "")
    *_, real, fake, where = [line.split() for line in run.stdout.splitlines()]
    assert real[0] == "real" and 0 < float(real[-1]) < 0.02
    assert fake[0] == "fake" and 0 < float(fake[-1]) < 0.045  # A flat block would have 0.154.
    assert where[-1] == "gan_1d.png"
    assert plt.imread("gan_1d.png")[..., :3].std() > 0.05  # It is not blank.


def test_main_works_with_wider_noise(monkeypatch):
    monkeypatch.setattr(gan_1d, "NOISE_DIM", 2)
    G = gan_1d.main()
    assert G(gan_1d.I(10)).shape == (10, 1)


def test_the_picture_is_drawn_from_the_whole_history_and_samples_of_R_and_G(monkeypatch):
    drawn = []
    monkeypatch.setattr(gan_1d, "plot", lambda *arguments: drawn.append(arguments))
    monkeypatch.setattr(gan_1d, "R", uniform)
    G = gan_1d.main()
    [(history, real, fake, _)] = drawn
    assert (history[0]["step"], history[-1]["step"]) == (0, gan_1d.STEPS)
    assert real.mean().item() == approx(25, rel=0.01)
    assert fake.mean().item() == approx(G(gan_1d.I(100_000)).mean().item(), abs=0.05)


@pytest.mark.parametrize("panel, goal", [(0, 25), (1, 30 / 12**0.5)])
def test_the_dashed_lines_of_the_picture_are_at_the_mean_and_std_of_R(monkeypatch, panel, goal):
    monkeypatch.setattr(gan_1d, "R", uniform)
    gan_1d.main()
    dashed, _ = plt.gcf().axes[panel].lines
    assert dashed.get_ydata()[0] == approx(goal, rel=0.01)


@pytest.mark.usefixtures("no_picture")
def test_it_learns_data_that_are_far_away(monkeypatch):
    monkeypatch.setattr(gan_1d, "REAL_MEAN", 100.0)
    monkeypatch.setattr(gan_1d, "REAL_STD", 15.0)
    monkeypatch.setattr(gan_1d, "STEPS", 1000)
    monkeypatch.setattr(gan_1d, "BATCH_SIZE", 512)
    G = gan_1d.main()
    fake = G(gan_1d.I(100_000)).detach()
    assert gan_1d.describe(fake, gan_1d.R(100_000))["distance"] < 0.06
