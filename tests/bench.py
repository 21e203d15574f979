"""Measure what gan_1d.py learns, what some of its choices are worth, and what a run costs.

    python tests/bench.py               all rows; writes tests/RESULTS.md; takes 40 minutes
    python tests/bench.py collapse far  only the rows with one of these words; prints them
    python tests/bench.py attempts      only the last part but one

W1 is the script's own distance between fakes and real samples, in standard deviations of R. TV is
half of the summed difference between two histograms of 64 bins, from 4 standard deviations below
the mean of R to 4 above: the share of the fakes that would have to change bins. std is the standard
deviation of the fakes, divided by that of R. Each is measured on 100,000 fakes. "lost" counts the
seeds whose W1 is above 0.2, which is more than the 0.15 of a flat block. Of data with humps, such
a run has usually lost a hump. A run whose fakes are no numbers has an infinite distance.

An attempt to reach the small hump begins when the lowest of 2,000 fakes is below 0.5, after all have
been above 1. It has reached the hump if a fake gets below -1.5 before all are above 1 again.

Seeds differ. The row "the default" shows by how much, so a row of five seeds that differs from it
by less than that says nothing.
"""

import contextlib
import importlib
import io
import math
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

matplotlib.use("Agg")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "tests"))
import changes  # noqa: E402
import gan_1d  # noqa: E402


def total_variation(fake, real):
    """Half of the summed difference between the two histograms; the samples beyond are one bin."""
    low = (real.mean() - 4 * real.std()).item()
    high = (real.mean() + 4 * real.std()).item()
    fake_shares = torch.histc(fake, 64, low, high) / len(fake)
    real_shares = torch.histc(real, 64, low, high) / len(real)
    beyond = real_shares.sum() - fake_shares.sum()  # the difference of the shares beyond
    return ((fake_shares - real_shares).abs().sum() + beyond.abs()).item() / 2


def play(change, record=None, **constants):
    """Run the script with a change; return G, D, and what record(G, D, z) returned in each step.

    The change is a row of changes.py. Other constants can be set beside it.
    """
    importlib.reload(gan_1d)
    for name, value in {"DEVICE": "cpu", "SEED": 0, **change, **constants}.items():
        setattr(gan_1d, name, value)
    if "PLOT_FILE" not in constants:
        gan_1d.plot = lambda *_: None
    train = gan_1d.train
    records = {}

    def recording_train(R, I, G, D):
        with torch.random.fork_rng():  # so that the game has the same random numbers as without
            z = I(2000)

        def hook(optimizer, *_):
            if record and optimizer.param_groups[0]["params"][0] is next(G.parameters()):
                with torch.no_grad():
                    records[len(records) + 1] = record(G, D, z)

        handle = register_optimizer_step_post_hook(hook)
        try:
            return train(R, I, G, D)
        finally:
            handle.remove()

    gan_1d.train = recording_train
    with contextlib.redirect_stdout(io.StringIO()):
        G, D = gan_1d.main()
    return G, D, records


def learn(part, name, seed):
    """Run the script with the changes of a row; return W1, TV and std of what it has learned."""
    G, _, _ = play(changes.PARTS[part][name], SEED=seed)
    fake = G(gan_1d.I(100_000)).detach()
    R = getattr(gan_1d.R, "source", gan_1d.R)
    w1 = gan_1d.describe(fake, R(100_000))["distance"]
    many_real = R(1_000_000)
    return w1, total_variation(fake, many_real), (fake.std() / many_real.std()).item()


def lines_of_part(part, names, pool):
    """Yield the lines of one part: its table, and the notes to it."""
    yield f"\n## {part}\n"
    yield from table(part, names, pool)
    if part in changes.NOTES:
        yield ""
        for name in names:
            yield f"- {name}: {changes.NOTES[part][name]}"
    if part == "The usual advice":
        yield "\nThe ten rows that a learner should see:\n"
        for name, why in changes.TEN.items():
            yield f"- {name}: {why}"


def table(part, names, pool):
    """Yield the lines of the table of one part."""
    yield "| | seeds | W1, median | W1, worst | lost | TV, median | std, lowest | std, highest |"
    yield "|---|---|---|---|---|---|---|---|"
    for name in names:
        seeds = changes.number_of_seeds(part, name)
        runs = pool.starmap(learn, [(part, name, seed) for seed in range(seeds)], chunksize=1)
        w1, tv, std = zip(*runs)
        w1 = [distance if math.isfinite(distance) else math.inf for distance in w1]
        std = [value for value in std if math.isfinite(value)]
        lost = sum(distance > 0.2 for distance in w1)
        cells = statistics.median(w1), max(w1), lost, statistics.median(tv), min(std), max(std)
        yield f"| {name} | {seeds} |" + "".join(f" {cell:.2g} |" for cell in cells)


def attempts(name, seed):
    """How often fakes set out from the hump at 3 for that at -3, and how often they reach it."""
    row = changes.PARTS["What goes wrong"][name]
    _, _, lowest = play(row, lambda G, D, z: G(z).min().item(), SEED=seed)
    return count_attempts(lowest.values())


def count_attempts(lowest):
    """How many attempts begin, and how many reach the hump, given the lowest fake after each step."""
    started = reached = 0
    state = "before"  # until all the fakes have been in the large hump
    for x in lowest:
        if x > 1:
            state = "at home"
        elif state == "at home" and x < 0.5:
            state = "on the way"
            started += 1
        if state == "on the way" and x < -1.5:
            state = "there"
            reached += 1
    return started, reached


def attempts_of_all_seeds(pool):
    """Yield the lines of the part on the fakes that set out for the small hump."""
    yield "\n## Attempts to reach the hump with a tenth\n"
    yield "| | seeds | attempts | reached it |"
    yield "|---|---|---|---|"
    for name, change in changes.PARTS["What goes wrong"].items():
        if change.get("R") is changes.a_hump_with_a_tenth and "Generator" not in change:
            seeds = changes.number_of_seeds("What goes wrong", name)
            counts = pool.starmap(attempts, [(name, seed) for seed in range(seeds)], chunksize=1)
            started, reached = zip(*counts)
            yield f"| {name} | {seeds} | {sum(started)} | {sum(reached)} |"


def seconds_of_a_run():
    """The time of the real command on the CPU, from its start to its end, picture included."""
    command = [sys.executable, ROOT / "gan_1d.py"]
    env = {**os.environ, "MPLBACKEND": "Agg", "CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, env=env, capture_output=True, check=True)
        return time.perf_counter() - start


def milliseconds_of_a_step(threads):
    """The time of one step of train with this many threads."""
    importlib.reload(gan_1d)
    gan_1d.DEVICE = "cpu"
    gan_1d.STEPS = 300
    torch.set_num_threads(threads)
    G, D = gan_1d.Generator(), gan_1d.Discriminator(gan_1d.R(1000))
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        gan_1d.train(gan_1d.R, gan_1d.I, G, D)
    return (time.perf_counter() - start) / gan_1d.STEPS * 1000


def count_forever():
    """Keep a processor core busy."""
    while True:
        pass


def milliseconds_of_a_step_on_busy_cores(threads):
    """The same while another process keeps every core busy."""
    spawn = multiprocessing.get_context("spawn")
    others = [spawn.Process(target=count_forever, daemon=True) for _ in range(os.cpu_count())]
    for other in others:
        other.start()
    time.sleep(3)  # until they count
    try:
        return milliseconds_of_a_step(threads)
    finally:
        for other in others:
            other.terminate()


def cost():
    """Yield the lines of the part on time; each is measured in turns, so that noise hits all."""
    busy = milliseconds_of_a_step_on_busy_cores
    measures = {
        "a whole run, in s": seconds_of_a_run,
        "a step, in ms": lambda: milliseconds_of_a_step(1),
        "a step with two threads, in ms": lambda: milliseconds_of_a_step(2),
        "a step while all cores are busy, in ms": lambda: busy(1),
        "a step with two threads while all cores are busy, in ms": lambda: busy(2),
    }
    milliseconds_of_a_step(1)  # The first optimizer takes a second to import.
    turns = [[measure() for measure in measures.values()] for _ in range(5)]
    yield "| | median of 5 |"
    yield "|---|---|"
    for name, values in zip(measures, zip(*turns)):
        yield f"| {name} | {statistics.median(values):.2g} |"


def processor():
    """The name of the processor, where the system tells it."""
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor()


def measured_lines(words, pool):
    """Yield the lines of all parts but that on time, or only the rows with one of the words."""
    for part, rows in changes.PARTS.items():
        names = [name for name in rows if not words or any(word in name for word in words)]
        if names:
            yield from lines_of_part(part, names, pool)
    if not words or "attempts" in words:
        yield from attempts_of_all_seeds(pool)


def main():
    words = sys.argv[1:]
    report = [
        "# Measurements\n",
        "Made by `python tests/bench.py`, whose docstring says what the columns are, with PyTorch "
        f"{torch.__version__} on a processor of the kind {processor()}. On another kind of "
        "processor, the second digit of most numbers will be another.",
    ]
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(2) as pool:
        for line in measured_lines(words, pool):
            report.append(line)
            print(line, flush=True)
    if not words:
        report.append("\n## Time\n")
        report.extend(cost())
        (ROOT / "tests" / "RESULTS.md").write_text("\n".join(report) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
