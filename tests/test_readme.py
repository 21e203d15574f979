"""Runs the code of README.md as pasted, each block in a folder of its own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from pytest import approx

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPT = (ROOT / "gan_1d.py").read_text(encoding="utf-8")
CALL = "gan_1d.train(R, I, G, D)\n"


def block(word):
    """The one block of Python in the README that contains this word."""
    [code] = [code for code in re.findall(r"```python\n(.*?)```", README, re.S) if word in code]
    return code


def run(code, folder, *expressions):
    """Run code as a program in folder, and return what these expressions are at its end."""
    code += f"\nimport json\nprint(json.dumps([{', '.join(expressions)}]))\n"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


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
    [("2 * torch.randn", 0, 2.06), ("10 * torch.randn", 0, 10.01), ("torch.empty", 1, 1)],
)
def test_the_lines_for_the_place_of_R_give_samples_as_main_wants_them(start, mean, std):
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


def test_the_users_own_data(tmp_path):
    data = np.random.default_rng(0).normal(170, 10, 2000)
    np.savetxt(tmp_path / "numbers.txt", data)
    code = changed(block("numbers.txt"), "import gan_1d\n", "import gan_1d\ngan_1d.STEPS = 300\n")
    run(code, tmp_path)
    fake = np.loadtxt(tmp_path / "fakes.txt")
    assert fake.shape == (2000,)
    assert fake.mean() == approx(data.mean(), abs=1)
    assert fake.std() == approx(data.std(), rel=0.1)


def test_the_sine_curve(tmp_path):
    code = changed(block("sine.png"), "gan_1d.STEPS = 2000", "gan_1d.STEPS = 500")
    [error] = run(code, tmp_path, "error")
    assert error < 0.05
    assert is_a_picture(tmp_path / "sine.png")


def test_two_humps_on_demand(tmp_path):
    moments = "[[hump.mean().item(), hump.std().item()] for hump in humps]"
    code = changed(block("conditional.png"), "gan_1d.STEPS = 2000", "gan_1d.STEPS = 700")
    [[left, right]] = run(code, tmp_path, moments)
    assert left == [approx(-2, abs=0.1), approx(0.5, rel=0.15)]
    assert right == [approx(2, abs=0.1), approx(0.5, rel=0.15)]
    assert is_a_picture(tmp_path / "conditional.png")


@pytest.mark.parametrize("convolutions", [False, True])
def test_digits(tmp_path, convolutions):
    code = changed(block("digits.png"), "gan_1d.STEPS = 20_000", "gan_1d.STEPS = 1")
    if convolutions:
        code = changed(code, CALL, block("ConvTranspose2d") + CALL)
    images = np.random.default_rng(0).integers(0, 256, (500, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=images)
    shape, has_convolutions = run(
        code, tmp_path, "list(G(I(2)).shape)", "any(type(layer) is nn.Conv2d for layer in D)"
    )
    assert shape == [2, 1, 28, 28]
    assert has_convolutions == convolutions
    assert is_a_picture(tmp_path / "digits.png")
