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


def test_the_game_in_code_is_that_of_the_script():
    code_of_script = [line.split("#")[0].strip() for line in SCRIPT.splitlines()]
    code_of_script = "\n".join(line for line in code_of_script if line)
    game = [line.strip() for line in block("for _ in range(D_STEPS)").splitlines()]
    assert "\n".join(line for line in game if line) in code_of_script


@pytest.mark.parametrize("word, mean", [("2 * torch.randn", 0), ("4 * torch.randn", 0)])
def test_the_humps_in_the_place_of_R_are_samples_as_main_wants_them(word, mean):
    [line] = [line for line in block(word).splitlines() if word in line]
    assert_it_can_replace_the_return_of_R(line, mean)


def test_the_exponential_in_the_place_of_R_is_samples_as_main_wants_them():
    [line] = [line for line in block("exponential_").splitlines() if "exponential_" in line]
    assert_it_can_replace_the_return_of_R(line, mean=1)


def assert_it_can_replace_the_return_of_R(line, mean):
    of_the_script = "    return torch.normal(REAL_MEAN, REAL_STD, (n, 1), device=DEVICE)"
    assert SCRIPT.count(of_the_script) == 1
    module = {"__name__": "gan_1d"}
    exec(SCRIPT.replace(of_the_script, line), module)
    x = module["R"](100_000)
    assert x.shape == (100_000, 1)
    assert x.mean().item() == approx(mean, abs=0.1)


def test_without_detach_the_same_generator_comes_out():
    weights = []
    for script in SCRIPT, SCRIPT.replace(".detach()  # It is D's turn", "  # It is D's turn"):
        module = {"__name__": "gan_1d"}
        exec(script, module)
        module.update(DEVICE="cpu", STEPS=20, plot=lambda *_: None)
        weights.append([p.tolist() for p in module["main"]().parameters()])
    assert weights[0] == weights[1]


def test_the_users_own_data(tmp_path):
    data = np.random.default_rng(0).normal(170, 10, 2000)
    np.savetxt(tmp_path / "numbers.txt", data)
    run(block("numbers.txt"), tmp_path)
    fake = np.loadtxt(tmp_path / "fakes.txt")
    assert fake.shape == (2000,)
    assert fake.mean() == approx(data.mean(), abs=1)
    assert fake.std() == approx(data.std(), rel=0.1)


def test_the_sine_curve(tmp_path):
    [error] = run(block("sine.png"), tmp_path, "error")
    assert error < 0.05
    assert is_a_picture(tmp_path / "sine.png")


def test_two_humps_on_demand(tmp_path):
    moments = "[[hump.mean().item(), hump.std().item()] for hump in humps]"
    [[left, right]] = run(block("conditional.png"), tmp_path, moments)
    assert left == [approx(-2, abs=0.1), approx(0.5, rel=0.15)]
    assert right == [approx(2, abs=0.1), approx(0.5, rel=0.15)]
    assert is_a_picture(tmp_path / "conditional.png")


@pytest.mark.parametrize("convolutions", [False, True])
def test_digits(tmp_path, convolutions):
    code = block("digits.png").replace("STEPS = 20_000", "STEPS = 2")
    if convolutions:
        code = code.replace(CALL, block("ConvTranspose2d") + CALL)
    images = np.random.default_rng(0).integers(0, 256, (500, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=images)
    shape, has_convolutions = run(
        code, tmp_path, "list(G(I(2)).shape)", "any(type(layer) is nn.Conv2d for layer in D)"
    )
    assert shape == [2, 1, 28, 28]
    assert has_convolutions == convolutions
    assert is_a_picture(tmp_path / "digits.png")
