"""Runs the recipes of README.md as pasted, each in an empty folder, and checks its measurements."""
import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)
TRAIN = "\ngan_1d.train(R, I, G, D)\n"


def recipe(word):
    """The one block that contains word."""
    code, = [code for code in BLOCKS if word in code]
    return code


def swap(old, new, code):
    """Code with its one line old, a regular expression, replaced by new."""
    code, n = re.subn(f"^{old}$", lambda _: new, code, flags=re.M)
    assert n == 1, f"{n} lines match {old!r}, not one"
    return code


def run(code, folder, result):
    """Run code in folder; return the value of the expression result after it."""
    (folder / "recipe.py").write_text(
        f"{code}\nimport json\nopen('result.json', 'w').write(json.dumps({result}))\n",
        encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "recipe.py"], cwd=folder, env=env,
                          capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sine(seed, tmp_path):
    code = swap(r"torch\.manual_seed\(0\)", f"torch.manual_seed({seed})", recipe("sine.png"))
    results = run(code, tmp_path, "[error, (G(I(1000)) - torch.sin(x)).abs().mean().item()]")
    assert max(results) <= 0.05
    assert plt.imread(tmp_path / "sine.png").std() > 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_conditional(seed, tmp_path):
    code = swap(r"torch\.manual_seed\(0\)", f"torch.manual_seed({seed})", recipe("one_hot"))
    results = run(code, tmp_path, "[[h.mean().item(), h.std().item()] for h in humps]")
    for (mean, std), wanted in zip(results, (-2, 2), strict=True):
        assert mean == pytest.approx(wanted, abs=0.1) and std == pytest.approx(0.5, rel=0.15)


@pytest.mark.parametrize("nets, steps", [("MLP", 60), ("convolutional", 10)])
def test_digits(nets, steps, tmp_path):
    code = swap(r"gan_1d\.STEPS = .*", f"gan_1d.STEPS = {steps}", recipe("MNIST ="))
    if nets == "convolutional":
        code = code.replace(TRAIN, "\n" + recipe("ConvTranspose2d") + TRAIN)
    # A small mnist.npz: 500 images of three blurred blobs each.
    random, (y, x) = np.random.default_rng(0), np.mgrid[:28, :28]
    centre = random.uniform(8, 20, (2, 500, 3, 1, 1))
    blobs = np.exp(-((y - centre[0])**2 + (x - centre[1])**2) / 8).sum(1).clip(0, 1)
    np.savez(tmp_path / "mnist.npz", x_train=(255 * blobs).astype(np.uint8))
    shape, convolutional, training = run(
        code, tmp_path, "[G(I(2)).shape, any(type(m) is nn.Conv2d for m in D), G.training]")
    assert shape == [2, 1, 28, 28] and convolutional == (nets == "convolutional") and not training
    assert plt.imread(tmp_path / "digits.png")[..., :3].std() > 0


def test_animation(tmp_path):
    code = swap(r"gan_1d\.LOG_EVERY = 10", "gan_1d.STEPS, gan_1d.LOG_EVERY = 8, 4",
                recipe("PillowWriter"))
    image = "__import__('PIL.Image').Image.open('gan_1d.gif').n_frames"
    assert run(code, tmp_path, image) == 3  # steps 0, 4 and 8
    assert (ROOT / ".github" / "gan_1d.gif").stat().st_size < 2e6


def test_measurements_are_those_of_the_bench():
    rows = re.findall(r"^\| (.*?) \| ([\d.inf]+) \| ([\d.inf]+) \|.* of \d+ \|$",
                      (ROOT / "tests" / "RESULTS.md").read_text(encoding="utf-8"), re.M)
    w1 = {label: (median, worst) for label, median, worst in rows}
    answer = w1["no game: G is shown the answer"]
    words = " ".join(README.split())
    assert "has the median {}, the worst is {}.".format(*w1["the default"]) in words
    assert f"comes to {answer[0]}." in words
    given = re.findall(r"^\| (.+?) \| ([\d.]+) \|", README, re.M)  # tweaks, and then remedies
    given += re.findall(r"\| ([^|]+?) \| ([\d.]+) \|$", README, re.M)
    assert len(given) >= 25
    for tweak, median in given:
        assert w1[re.sub(r"`| \((?![^`]*`).*", "", tweak)][0] == median, tweak


def test_every_block_is_a_recipe_of_its_own_or_the_convolutional_nets():
    for code in BLOCKS:
        first = ast.parse(code).body[0]
        assert isinstance(first, (ast.Import, ast.ImportFrom)) or "ConvTranspose2d" in code
        assert max(map(len, code.splitlines())) <= 100
