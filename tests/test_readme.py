"""Runs the code of README.md as pasted, each block in a folder of its own."""

import importlib
import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from pytest import approx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import gan_1d  # noqa: E402

README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPT = (ROOT / "gan_1d.py").read_text(encoding="utf-8")
plt.switch_backend("Agg")  # No test opens a window.

# Matplotlib causes this warning when it draws a tensor. Python does not show it to users.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def block(word):
    """The one block of Python in the README that contains this word."""
    [code] = [code for code in re.findall(r"```python\n(.*?)```", README, re.S) if word in code]
    return code


def run(code):
    """Run code as a program of its own, in the current folder; return its variables by name."""
    importlib.reload(gan_1d)  # undoes what an earlier program has set
    program = {"__name__": "__main__"}
    exec(code, program)
    plt.close("all")
    return program


@pytest.fixture(autouse=True)
def in_an_empty_folder_without_a_window(monkeypatch, tmp_path):
    """Run each program in a folder of its own, and undo afterwards what it has set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: None)
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
    assert code_lines(block("for _ in range(D_STEPS)")) in code_lines(SCRIPT)


def changed(text, old, new):
    """The text with old replaced by new; an error if old is not there exactly once."""
    assert text.count(old) == 1, f"not once in the text: {old}"
    return text.replace(old, new)


@pytest.mark.parametrize(
    "start, mean, std",
    [
        ("2 * torch.randn", 0, (2**2 + 0.5**2) ** 0.5),  # humps at -2 and 2, each 0.5 wide
        ("10 * torch.randn", 0, (10**2 + 0.5**2) ** 0.5),
        ("torch.empty", 1, 1),  # exponential
    ],
)
def test_each_return_line_for_R_gives_the_samples_that_the_text_tells_of(start, mean, std):
    [line] = [line for line in README.splitlines() if line.startswith(f"    return {start}")]
    of_the_script = "    return torch.normal(REAL_MEAN, REAL_STD, (n, 1), device=DEVICE)"
    module = {"__name__": "gan_1d"}
    exec(changed(SCRIPT, of_the_script, line), module)
    torch.manual_seed(0)
    x = module["R"](100_000)
    assert x.shape == (100_000, 1)
    assert x.dtype == torch.float32
    assert x.mean().item() == approx(mean, abs=0.05 * std)
    assert x.std().item() == approx(std, rel=0.05)


def test_without_detach_the_same_generator_comes_out():
    weights = []
    for script in SCRIPT, changed(SCRIPT, ".detach()  # It is", "  # It is"):
        module = {"__name__": "gan_1d"}
        exec(script, module)
        module.update(DEVICE="cpu", STEPS=20, plot=lambda *_: None)
        weights.append([p.tolist() for p in module["main"]().parameters()])
    assert weights[0] == weights[1]


def test_the_users_own_data():
    data = np.random.default_rng(0).normal(170, 10, 2000)
    np.savetxt("numbers.txt", data)
    run(changed(block("numbers.txt"), "import gan_1d\n", "import gan_1d\ngan_1d.STEPS = 300\n"))
    fake = np.loadtxt("fakes.txt")
    assert fake.shape == (2000,)
    assert fake.mean() == approx(data.mean(), abs=1)
    assert fake.std() == approx(data.std(), rel=0.1)


def test_the_sine_curve():
    program = run(changed(block("sine.png"), "gan_1d.STEPS = 2000", "gan_1d.STEPS = 300"))
    assert program["error"] < 0.05
    assert is_a_picture("sine.png")


def test_two_humps_on_demand():
    program = run(changed(block("conditional.png"), "gan_1d.STEPS = 2000", "gan_1d.STEPS = 700"))
    for hump, mean in zip(program["humps"], [-2, 2], strict=True):
        assert hump.mean().item() == approx(mean, abs=0.1)
        assert hump.std().item() == approx(0.5, rel=0.15)
    assert is_a_picture("conditional.png")


def digits_program(convolutions):
    """The program for the digits; for convolutions, their block is pasted above the training."""
    code = block("digits.png")
    if convolutions:
        call = "gan_1d.train(R, I, G, D)\n"
        code = changed(code, call, block("ConvTranspose2d") + call)
    return code


@pytest.mark.parametrize("convolutions", [False, True])
def test_digits(convolutions):
    code = digits_program(convolutions)
    images = np.random.default_rng(0).integers(0, 256, (500, 28, 28), dtype=np.uint8)
    np.savez("mnist.npz", x_train=images)
    program = run(changed(code, "gan_1d.STEPS = 20_000", "gan_1d.STEPS = 1"))
    assert program["fake"].shape == (25, 1, 28, 28)
    layers = [type(layer) for layer in program["D"]]
    assert (torch.nn.Conv2d in layers) == convolutions
    assert is_a_picture("digits.png")
