"""Runs the recipes of README.md as pasted, each in an empty folder, and looks at what they make."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)
TRAIN = "\ngan_1d.train(R, I, G, D)\n"


def recipe(word, old="", new=""):
    """The one block of code that contains word, with old replaced by new."""
    [code] = [block for block in BLOCKS if word in block]
    assert not old or code.count(old) == 1
    return code.replace(old, new)


def run(code, folder, result):
    """Run code in folder; see that its pictures show something; return the value of result."""
    code += f"\nimport json\nprint(json.dumps({result}))\n"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True,
                          text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    for picture in re.findall(r"\w+\.png", code):
        assert plt.imread(folder / picture)[..., :3].std() > 0
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sine(seed, tmp_path):
    code = recipe("sine.png", "manual_seed(0)", f"manual_seed({seed})")
    assert run(code, tmp_path, "(G(I(1000)) - torch.sin(x)).abs().mean().item()") <= 0.05


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_humps_on_demand(seed, tmp_path):
    code = recipe("humps.png", "manual_seed(0)", f"manual_seed({seed})")
    humps = run(code, tmp_path, "[[h.mean().item(), h.std().item()] for h in humps]")
    for (mean, std), wanted in zip(humps, (-2, 2), strict=True):
        assert mean == pytest.approx(wanted, abs=0.1) and std == pytest.approx(0.5, rel=0.15)


@pytest.mark.parametrize("nets, steps", [("MLP", 60), ("convolutional", 10)])
def test_digits(nets, steps, tmp_path):
    code = recipe("digits.png", "STEPS = 20_000", f"STEPS = {steps}")
    if nets == "convolutional":
        code = code.replace(TRAIN, "\n" + recipe("ConvTranspose2d") + TRAIN)
    images = np.random.default_rng(0).integers(0, 256, (500, 28, 28))
    np.savez(tmp_path / "mnist.npz", x_train=images.astype(np.uint8))
    shape, convolutional, training = run(
        code, tmp_path, "[G(I(2)).shape, any(type(m) is nn.Conv2d for m in D), G.training]")
    assert shape == [2, 1, 28, 28] and convolutional == (nets == "convolutional") and not training


def test_animation(tmp_path):
    code = recipe("PillowWriter", "LOG_EVERY = 10\n", "LOG_EVERY, gan_1d.STEPS = 4, 8\n")
    code += "\nfrom PIL import Image\n"
    assert run(code, tmp_path, "Image.open('gan_1d.gif').n_frames") == 3  # steps 0, 4 and 8


def test_scaled_data(tmp_path):
    script = (ROOT / "gan_1d.py").read_text(encoding="utf-8")
    before, after = re.split(r"def R\(n\):\n.*?\n\n", script, flags=re.S)
    code = before + recipe("data.mean()") + after
    fakes = "(G(I(10_000)) * data.std() + data.mean())"
    mean, std = run(code, tmp_path, f"[{fakes}.mean().item(), {fakes}.std().item()]")
    assert mean == pytest.approx(2000, abs=0.15) and std == pytest.approx(1, rel=0.1)
