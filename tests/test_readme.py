"""Runs the recipes of README.md as a reader would: each pasted into a file, in an empty folder."""
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
TRAIN = "\ngan_1d.train(R, I, G, D)\n"


def blocks():
    """Every ```python block of README.md."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)


def recipe(word):
    """The one block that contains word."""
    found = [code for code in blocks() if word in code]
    assert len(found) == 1, f"{len(found)} blocks of README.md contain {word!r}, not one"
    return found[0]


def swap(pattern, new, code):
    """Code with its one match of pattern replaced by new."""
    code, n = re.subn(pattern, lambda _: new, code, flags=re.M)
    assert n == 1, f"{n} matches of {pattern!r}, not one"
    return code


def run(code, folder, result="None"):
    """Run code in folder; return the process, and the value of the expression result after it."""
    (folder / "recipe.py").write_text(
        f"{code}\nimport json\nopen('result.json', 'w').write(json.dumps({result}))\n",
        encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "recipe.py"], cwd=folder, env=env,
                          capture_output=True, text=True, timeout=600)
    file = folder / "result.json"
    return done, json.loads(file.read_text()) if done.returncode == 0 else None


def write_mnist(folder, **arrays):
    """A small mnist.npz: 500 images of three blurred blobs each."""
    random, (y, x) = np.random.default_rng(0), np.mgrid[:28, :28]
    centre = random.uniform(8, 20, (2, 500, 3, 1, 1))
    blobs = np.exp(-((y - centre[0])**2 + (x - centre[1])**2) / 8).sum(1).clip(0, 1)
    np.savez(folder / "mnist.npz", **(arrays or {"x_train": (255 * blobs).astype(np.uint8)}))


def test_blocks_begin_with_imports():
    assert len(blocks()) >= 4
    for code in blocks():
        body = ast.parse(code).body
        assert isinstance(body[0], (ast.Import, ast.ImportFrom)) or "ConvTranspose2d" in code
        assert max(map(len, code.splitlines())) <= 100


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sine(seed, tmp_path):
    code = swap(r"^torch\.manual_seed\(0\)$", f"torch.manual_seed({seed})", recipe("sine.png"))
    done, results = run(code, tmp_path, "[error, (G(I(1000)) - torch.sin(x)).abs().mean().item()]")
    assert done.returncode == 0, done.stderr
    assert max(results) <= 0.05
    assert plt.imread(tmp_path / "sine.png").std() > 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_conditional(seed, tmp_path):
    code = swap(r"^torch\.manual_seed\(0\)$", f"torch.manual_seed({seed})", recipe("one_hot"))
    done, results = run(code, tmp_path, "[means, stds]")
    assert done.returncode == 0, done.stderr
    assert results[0] == pytest.approx([-2, 2], abs=0.1)
    assert results[1] == pytest.approx([0.5, 0.5], rel=0.15)


@pytest.mark.parametrize("nets, steps", [("MLP", 60), ("convolutional", 10)])
def test_digits(nets, steps, tmp_path):
    code = swap(r"^gan_1d\.STEPS = .*$", f"gan_1d.STEPS = {steps}", recipe("MNIST ="))
    if nets == "convolutional":
        code = swap(re.escape(TRAIN), "\n" + recipe("ConvTranspose2d") + TRAIN, code)
    write_mnist(tmp_path)
    # G's running mean and std of batch norm, and those of fresh noise
    code += ("\ni, norm = next((i, m) for i, m in enumerate(G) if hasattr(m, 'running_mean'))\n"
             "h = G[:i](I(5000)).detach().transpose(0, 1).flatten(1)\n")
    done, results = run(code, tmp_path, "[G(I(2)).shape, any(type(m) is nn.Conv2d for m in D), "
                        "((norm.running_mean - h.mean(1)) / h.std(1)).abs().max().item(), "
                        "(norm.running_var.sqrt() / h.std(1)).log().abs().max().item()]")
    assert done.returncode == 0, done.stderr
    shape, convolutional, mean_error, std_error = results
    assert shape == [2, 1, 28, 28] and convolutional == (nets == "convolutional")
    assert plt.imread(tmp_path / "digits.png")[..., :3].std() > 0
    if nets == "MLP":  # long enough for them to settle
        assert mean_error < 0.3 and std_error < 0.25


@pytest.mark.parametrize("arrays, words", [
    (None, "No such file"),
    ({"images": np.zeros((5, 28, 28), np.uint8)}, "x_train"),
    ({"x_train": np.zeros((5, 14, 14), np.uint8)}, "(5, 14, 14)"),
    ({"x_train": np.zeros((5, 28, 28))}, "float64"),
], ids=["missing", "no x_train", "shape", "dtype"])
def test_digits_says_what_is_wrong_with_the_file(arrays, words, tmp_path):
    if arrays:
        write_mnist(tmp_path, **arrays)
    done, _ = run(recipe("MNIST ="), tmp_path)
    assert done.returncode == 1
    assert words in done.stderr.splitlines()[-1]


def test_animation(tmp_path):
    code = swap(r"^gan_1d\.LOG_EVERY = 10$", "gan_1d.STEPS, gan_1d.LOG_EVERY = 8, 4",
                recipe("PillowWriter"))
    done, frames = run(code, tmp_path, "__import__('PIL.Image').Image.open('gan_1d.gif').n_frames")
    assert done.returncode == 0, done.stderr
    assert frames == 3  # steps 0, 4 and 8
    assert (ROOT / ".github" / "gan_1d.gif").stat().st_size < 2e6
