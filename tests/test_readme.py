"""Runs the code of README.md as pasted, and a cheap row of bench.py and picture of pictures.py."""

import importlib
import inspect
import re
import sys
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from pytest import approx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "tests"))
import bench  # noqa: E402
import changes  # noqa: E402
import gan_1d  # noqa: E402
from test_gan_1d import CONSTANTS  # noqa: E402

README = (ROOT / "README.md").read_text(encoding="utf-8")
plt.switch_backend("Agg")  # No test opens a window.

# Matplotlib causes this warning when it draws a tensor. Python does not show it to users.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def block(word):
    """The one block of Python in the README that contains this word."""
    blocks = re.findall(r"```python\n(.*?) *```", README, re.S)
    [code] = [textwrap.dedent(code) for code in blocks if word in code]
    return code


def start_anew():
    """Undo what an earlier program has set, and what you may have changed in the script."""
    importlib.reload(gan_1d)
    for name, value in {**CONSTANTS, "BATCH_SIZE": 512, "STEPS": 900}.items():
        setattr(gan_1d, name, value)


def run(code):
    """Run code as a program of its own, in the current folder; return its variables by name."""
    start_anew()
    program = {"__name__": "__main__"}
    exec(code, program)
    plt.close("all")
    return program


@pytest.fixture(autouse=True)
def in_an_empty_folder_without_a_window(monkeypatch, tmp_path):
    """Run each program in a folder of its own, and undo afterwards what it has set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: None)
    start_anew()
    yield
    importlib.reload(gan_1d)
    torch.set_default_device(None)


def is_a_picture(file):
    """Whether the file is a picture that shows something."""
    return plt.imread(file)[..., :3].std() > 0


def code_lines(text):
    """The lines of a program, without comments, blank lines and indentation."""
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return "\n".join(line for line in lines if line)


def test_the_game_in_code_is_that_of_the_script():
    script = (ROOT / "gan_1d.py").read_text(encoding="utf-8")
    assert code_lines(block("for _ in range(D_STEPS)")) in code_lines(script)


def test_the_printed_lines_have_the_header_and_the_goal_of_the_script(monkeypatch, capsys):
    monkeypatch.setattr(gan_1d, "STEPS", 1)
    gan_1d.main()
    [shown] = re.findall(r"```text\n(Training on.*?)```", README, re.S)
    shown, printed = shown.splitlines(), capsys.readouterr().out.splitlines()
    assert shown[:3] == printed[:3]  # Training on cpu, ..., and the header
    assert shown[3].split()[:5] == printed[3].split()[:5]  # the goal, up to that of D(fake)
    assert shown[-5:-3] == printed[-5:-3]  # above the table at the end, and its header
    assert shown[-1] == printed[-1]


def replace_once(text, old, new):
    """The text with old replaced by new; an error if old is not there exactly once."""
    assert text.count(old) == 1, f"not once in the text: {old}"
    return text.replace(old, new)


@pytest.mark.parametrize(
    "code, mean, std",
    [
        (block("exponential_()").splitlines()[0], 0, (2**2 + 0.5**2) ** 0.5),  # humps at -2 and 2
        (block("exponential_()").splitlines()[1], 1, 1),
        (block("in_small_hump"), 2.4, (0.1 * 0.9 * 6**2 + 0.5**2) ** 0.5),
    ],
)
def test_each_body_for_R_gives_the_samples_that_the_text_tells_of(code, mean, std):
    module = {"torch": torch, "DEVICE": "cpu"}
    exec("def R(n):\n" + textwrap.indent(code, "    "), module)
    torch.manual_seed(0)
    x = module["R"](100_000)
    assert x.shape == (100_000, 1)
    assert x.dtype == torch.float32
    assert x.mean().item() == approx(mean, abs=0.05 * std)
    assert x.std().item() == approx(std, rel=0.05)


def test_without_detach_the_same_generator_comes_out(monkeypatch):
    monkeypatch.setattr(gan_1d, "STEPS", 5)
    detached = "fake = G(I(BATCH_SIZE)).detach()"
    source = replace_once(inspect.getsource(gan_1d.train), detached, "fake = G(I(BATCH_SIZE))")
    without_detach = dict(vars(gan_1d))
    exec(source, without_detach)
    weights = []
    for train in gan_1d.train, without_detach["train"]:
        torch.manual_seed(0)
        G, D = gan_1d.Generator(), gan_1d.Discriminator(gan_1d.R(1000))
        train(gan_1d.R, gan_1d.I, G, D)
        weights.append([p.tolist() for p in G.parameters()])
    assert weights[0] == weights[1]


def test_the_saved_nets_are_loaded():
    torch.manual_seed(0)
    G, D = gan_1d.Generator(), gan_1d.Discriminator(gan_1d.R(1000))
    torch.save(G.state_dict(), "G.pt")
    torch.save(D.state_dict(), "D.pt")
    program = run(block("G.pt"))
    for saved, loaded in (G, program["G"]), (D, program["D"]):
        for name, tensor in saved.state_dict().items():
            assert torch.equal(tensor, loaded.state_dict()[name].cpu())


def own_data_program(steps):
    few_steps = f"import gan_1d\ngan_1d.STEPS = {steps}\n"
    return replace_once(block("fakes.txt"), "import gan_1d\n", few_steps)


def test_the_users_own_data():
    data = np.random.default_rng(0).normal(170, 10, 2000)
    np.savetxt("numbers.txt", data)
    run(own_data_program(300))
    fake = np.loadtxt("fakes.txt")
    assert fake.shape == (10_000,)
    assert fake.mean() == approx(data.mean(), abs=1)
    assert fake.std() == approx(data.std(), rel=0.1)


def test_data_far_from_0_keep_their_digits():
    data = 1_764_367_200 + np.random.default_rng(0).uniform(0, 300, 2000)
    np.savetxt("numbers.txt", data, fmt="%.3f")
    run(own_data_program(1))
    assert len(np.unique(np.loadtxt("fakes.txt"))) > 9500


@pytest.mark.parametrize("x, words", [([0.1, 0.1, 0.1], "the same"), ([1, np.nan, 3], "no NaN")])
def test_useless_data_are_refused_in_words_that_fit(x, words):
    np.savetxt("numbers.txt", x)
    with pytest.raises(AssertionError, match=words):
        run(own_data_program(1))


@pytest.mark.parametrize(
    "words, x",
    [
        (["np.unique"], [0.0, 2.0, 2.0, 3.5, 0.0, 10.0]),
        (["np.log"], [0.1, 2.0, 500.0]),
        (["np.unique", "np.log"], [0.0, 0.0, 0.5, 0.0, 40.0, 0.5]),
    ],
)
def test_what_prepares_the_data_is_undone(words, x):
    program = {"np": np, "x": np.array(x)}
    at_b = []
    for word in words:
        before, after = block(word).split("# at B:\n")
        exec(before, program)
        at_b.insert(0, after)
    assert not np.array_equal(program["x"], x)
    program["fake"] = program["x"]
    for code in at_b:
        exec(code, program)
    assert program["fake"] == approx(np.array(x))


def test_fakes_outside_are_rounded_to_the_nearest_value():
    program = {"np": np, "x": np.array([1.0, 2.0, 5.0]), "fake": np.array([-3.0, 1.9, 4.9, 99.0])}
    exec(block("np.unique"), program)
    assert program["fake"].tolist() == [1, 1, 2, 5]


def test_a_table_with_a_header_and_missing_values():
    Path("numbers.txt").write_text("a,b,c\n1,x,3.5\n2,y,\n3,z,4.5\n", encoding="utf-8")
    program = {"np": np}
    exec(block("genfromtxt"), program)
    assert program["x"].tolist() == [3.5, 4.5]


def test_the_fakes_are_compared_with_the_half_that_was_held_out(capsys):
    x = np.random.default_rng(0).permutation(np.arange(20_000.0))
    program = {"np": np, "x": x, "fake": x + 0.5 * x.std()}
    exec(block("held_out, x"), program)
    assert sorted([*program["held_out"], *program["x"]]) == sorted(x)
    lines = capsys.readouterr().out.splitlines()
    fakes, training_half = [float(line.split()[-1]) for line in lines]
    assert fakes == approx(0.5, abs=0.02)
    assert training_half < 0.02


def test_the_sine_curve():
    program = run(replace_once(block("sine.png"), "gan_1d.STEPS = 2000", "gan_1d.STEPS = 300"))
    assert program["error"] < 0.05
    assert is_a_picture("sine.png")


def test_two_humps_on_demand():
    code = block("conditional.png")
    program = run(replace_once(code, "gan_1d.STEPS = 2000", "gan_1d.STEPS = 700"))
    for hump, mean in zip(program["humps"], [-2, 2], strict=True):
        assert hump.mean().item() == approx(mean, abs=0.1)
        assert hump.std().item() == approx(0.5, rel=0.15)
    assert is_a_picture("conditional.png")


def digits_program(convolutions):
    """The program for the digits; for convolutions, their block is pasted above the training."""
    code = block("digits.png")
    if convolutions:
        call = "gan_1d.train(R, I, G, D)\n"
        code = replace_once(code, call, block("ConvTranspose2d") + call)
    return code


@pytest.mark.parametrize("convolutions", [False, True])
def test_digits(convolutions):
    code = digits_program(convolutions)
    images = np.random.default_rng(0).integers(0, 256, (500, 28, 28), dtype=np.uint8)
    np.savez("mnist.npz", x_train=images)
    program = run(replace_once(code, "gan_1d.STEPS = 20_000", "gan_1d.STEPS = 1"))
    assert program["fake"].shape == (25, 1, 28, 28)
    layers = [type(layer) for layer in program["D"]]
    assert (torch.nn.Conv2d in layers) == convolutions
    assert is_a_picture("digits.png")


# ----- the developers' programs -----


def test_a_row_of_bench(monkeypatch):
    settings = {**CONSTANTS, "STEPS": 5}
    monkeypatch.setitem(changes.PARTS["The default"], "the default", settings)
    w1, tv, std = bench.learn("The default", "the default", 0)
    assert w1 > 0.5
    assert tv > 0.5
    assert std < 0.5


def test_attempts_to_reach_the_small_hump_are_counted():
    at_first, home, on_the_way, there = -2.0, 2.0, 0.0, -2.0
    lowest = [at_first, home, on_the_way, on_the_way, there, there, home, on_the_way, home, there]
    assert bench.count_attempts(lowest) == (3, 2)


def test_the_loop_of_changes_is_that_of_the_script(monkeypatch):
    settings = {**CONSTANTS, "STEPS": 5}
    rows = changes.PARTS["The default"]
    monkeypatch.setitem(rows, "the default", settings)
    monkeypatch.setitem(rows, "the other loop", {**settings, "train": changes.game()})
    of_the_script = bench.learn("The default", "the default", 0)
    assert bench.learn("The default", "the other loop", 0) == of_the_script


def test_a_picture(monkeypatch, tmp_path):
    import pictures  # which imports this file

    monkeypatch.setattr(pictures, "GITHUB", tmp_path)
    monkeypatch.setattr(changes, "COLLAPSE", {**changes.COLLAPSE, "STEPS": 40, "BATCH_SIZE": 16})
    pictures.collapse()
    assert is_a_picture("collapse.png")
