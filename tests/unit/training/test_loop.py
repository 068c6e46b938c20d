"""The loop on a toy: objective, evaluation, early stopping, interruption, damage, refusal."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from profactory.errors import (
    CheckpointError,
    ConfigError,
    MemoryBudgetError,
    NonFiniteError,
    RunExistsError,
)
from profactory.runs import Run
from profactory.training.checkpoint import list_checkpoints
from profactory.training.history import metric_rows
from profactory.training.loop import fit
from profactory.training.state import FitSettings
from tests.support.forks import exit_code
from tests.support.toy import Interrupting, ToyModel, ToySource, fit_until_signal, toy_fit


def rows_of(run: Run) -> list[dict]:
    return metric_rows(run.events())


def evaluations(run: Run) -> list[dict]:
    return [row for row in rows_of(run) if row["event"] == "evaluation"]


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_two_runs_with_one_seed_are_identical_and_another_seed_differs(tmp_path):
    """A9: the predecessor's seed had no effect."""
    one, run_one, _ = toy_fit(tmp_path / "one")
    two, run_two, _ = toy_fit(tmp_path / "two")
    other, run_other, _ = toy_fit(tmp_path / "other", seed=1)
    assert same_weights(one, two)
    assert rows_of(run_one) == rows_of(run_two)
    assert not same_weights(one, other)
    assert rows_of(run_one) != rows_of(run_other)


def test_one_step_against_arithmetic_by_hand(tmp_path):
    """SGD, no dropout: the step is the gradient of the mean over all samples of the group."""
    model, source = ToyModel(dropout=0.0), ToySource(10, tokens=40)
    assert 2 < len(source.plan(0)) < 10
    hidden = torch.tanh(model.body(source.x)).detach()
    error = hidden @ model.head.weight.detach().T + model.head.bias.detach() - source.y[:, None]
    gradient = (2 * error * hidden).mean(0)
    expected = model.head.weight.detach() - 0.1 * gradient
    # One group of all micro-batches, though they differ in size.
    options = {"optimizer": "sgd", "weight_decay": 0.0, "schedule": "constant", "gradient_accumulation": 100}
    trained, run, result = toy_fit(
        tmp_path / "run",
        model=model,
        source=source,
        epochs=1,
        learning_rate=0.1,
        max_grad_norm=0.0,
        **options,
    )
    assert result.steps == 1
    torch.testing.assert_close(trained.head.weight.detach(), expected, rtol=1e-5, atol=1e-6)
    (row,) = [row for row in rows_of(run) if row["event"] == "step"]
    assert row["loss"] == pytest.approx(float(error.square().mean()), rel=1e-5)
    bias_gradient = (2 * error).mean()
    norm = math.sqrt(float(gradient.square().sum() + bias_gradient.square()))
    assert row["grad_norm"] == pytest.approx(norm, rel=1e-5)


def test_clipping(tmp_path):
    model, source = ToyModel(dropout=0.0), ToySource(10)
    before = model.head.weight.detach().clone(), model.head.bias.detach().clone()
    options = {"optimizer": "sgd", "weight_decay": 0.0, "schedule": "constant", "gradient_accumulation": 100}
    trained, run, _ = toy_fit(
        tmp_path / "run",
        model=model,
        source=source,
        epochs=1,
        learning_rate=0.1,
        max_grad_norm=0.01,
        **options,
    )
    moved = [(a - b.detach()).square().sum() for a, b in zip(before, trained.head.parameters(), strict=True)]
    assert math.sqrt(float(sum(moved))) == pytest.approx(0.1 * 0.01, rel=1e-3)
    assert rows_of(run)[0]["grad_norm"] > 0.01  # what is written is the norm before clipping


def test_the_last_partial_group_is_a_step_and_every_sample_is_used(tmp_path):
    """A23: the predecessor carried it into the next epoch or never applied it."""
    source = ToySource(50)
    batches = len(source.plan(0))
    assert batches % 4
    _, _, result = toy_fit(tmp_path / "run", source=source, epochs=1, gradient_accumulation=4)
    assert result.steps == math.ceil(batches / 4)
    assert sorted(np.concatenate(source.loaded).tolist()) == list(range(50))


def test_learning_rate_follows_optimizer_steps(tmp_path):
    """A22: with accumulation the predecessor's rate stayed near its peak to the end."""
    _, run, result = toy_fit(
        tmp_path / "run", epochs=4, gradient_accumulation=4, warmup=0.25, learning_rate=0.04
    )
    rates = [row["learning_rate"] for row in rows_of(run) if row["event"] == "step"]
    assert len(rates) == result.steps == 12
    assert rates[:3] == pytest.approx([0.04 / 3, 0.08 / 3, 0.04])
    assert rates[-1] == pytest.approx(0.04 / 9)


def test_best_weights_are_restored_and_patience_ends(tmp_path):
    """Validation gets worse after the second evaluation; early stopping two later."""
    model, source = ToyModel(), ToySource()
    run, seen = Run.create(tmp_path / "run", {}), []
    script = iter([0.3, 0.7, 0.6, 0.5, 0.9])

    def validate() -> dict[str, float]:
        assert not model.training
        seen.append({k: v.clone() for k, v in model.state_dict().items()})
        return {"score": next(script), "loss": 1.0}

    settings = FitSettings(epochs=9, monitor="score", mode="max", patience=2, device="cpu")
    with run.lock():
        result = fit(model, source, validate, run, settings)
    assert result.stopped_early
    assert (result.best.value, result.best.epoch, len(seen)) == (0.7, 2, 4)
    for name, value in model.state_dict().items():
        assert torch.equal(value, seen[1][name])
    assert not torch.equal(model.head.weight, seen[3]["head.weight"])
    assert [row["improved"] for row in evaluations(run)] == [True, True, False, False]
    assert not model.training
    kept = list(list_checkpoints(run.ckpt_dir))
    assert result.best.step in kept
    assert result.steps in kept


def test_unknown_monitor_is_refused(tmp_path):
    """A10: the predecessor silently monitored the loss, with the wrong direction."""
    with pytest.raises(ConfigError, match="'mcc'") as caught:
        toy_fit(tmp_path / "run", monitor="mcc", mode="max")
    assert "loss" in caught.value.expected


def test_a_metric_that_is_never_defined(tmp_path, caplog):
    model, run = ToyModel(), Run.create(tmp_path / "run", {})
    settings = FitSettings(epochs=2, monitor="auroc", mode="max", device="cpu")
    with run.lock():
        result = fit(model, ToySource(), lambda: {"auroc": math.nan}, run, settings)
    assert result.best is None
    assert "never defined" in caplog.text
    assert [row["metrics"] for row in evaluations(run)] == [{"auroc": None}] * 2


@pytest.mark.parametrize(
    ("options", "at"), [({"eval_steps": 5}, [5, 10, 15, 20, 22]), ({"eval_epochs": 2}, [22])]
)
def test_when_it_evaluates(tmp_path, options, at):
    _, run, result = toy_fit(tmp_path / "run", epochs=2, **options)
    assert result.steps == 22
    assert [row["step"] for row in evaluations(run)] == at


def test_max_steps(tmp_path):
    _, run, result = toy_fit(tmp_path / "run", epochs=50, max_steps=14)
    assert (result.steps, result.epochs) == (14, 2)
    assert evaluations(run)[-1]["step"] == 14


def test_train_loss_of_an_epoch_is_the_mean_over_its_samples(tmp_path):
    model = ToyModel(dropout=0.0)
    with torch.no_grad():
        start = float((model.values(ToySource().x) - ToySource().y).square().mean())
    _, run, _ = toy_fit(tmp_path / "run", model=model, epochs=1, learning_rate=0.0)
    assert evaluations(run)[0]["train_loss"] == pytest.approx(start, rel=1e-6)


# --- interruption


class Killed(BaseException):
    """Stands for SIGKILL: nothing handles it."""


def kill() -> None:
    raise Killed


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "adafactor"])
@pytest.mark.parametrize("after", [0, 3, 25, 40])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, optimizer, after):
    options = {
        "optimizer": optimizer,
        "save_steps": 2,
        "gradient_accumulation": 2,
        "epochs": 4,
        "eval_steps": 3,
    }
    straight, run, result = toy_fit(tmp_path / "straight", **options)
    with pytest.raises(Killed):
        toy_fit(tmp_path / "killed", source=Interrupting(after, kill), **options)
    resumed, again, second = toy_fit(tmp_path / "killed", resume=True, **options)
    assert same_weights(straight, resumed)
    assert rows_of(again) == rows_of(run)
    assert (second.steps, second.best) == (result.steps, result.best)
    for name in ("model", "optimizer"):
        files = [r.ckpt_dir / f"checkpoint-{result.steps}" / f"{name}.safetensors" for r in (run, again)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_killed_again_and_again(tmp_path):
    options = {"save_steps": 1, "epochs": 2}
    straight, run, _ = toy_fit(tmp_path / "straight", **options)
    for round_number in range(5):
        with pytest.raises(Killed):
            toy_fit(tmp_path / "run", source=Interrupting(4, kill), resume=round_number > 0, **options)
    resumed, again, _ = toy_fit(tmp_path / "run", resume=True, **options)
    assert same_weights(straight, resumed)
    assert rows_of(again) == rows_of(run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_writes_a_checkpoint_at_once(tmp_path, number):
    options = {"gradient_accumulation": 4, "epochs": 3}
    straight, run, _ = toy_fit(tmp_path / "straight", **options)
    # In a process of its own: a signal to a worker of the test run could end the whole run.
    assert exit_code(fit_until_signal, 6, number, tmp_path / "run", options) == 128 + number
    # In the middle of the second group: its third micro-batch was computed, its fourth never loaded.
    assert (tmp_path / "run" / "loaded").read_text() == "7"
    stopped = Run.open(tmp_path / "run")
    assert list(list_checkpoints(stopped.ckpt_dir)) == [1]
    status = stopped.status()
    assert (status["state"], status["step"]) == ("stopped", 1)
    resumed, again, result = toy_fit(tmp_path / "run", resume=True, **options)
    assert result.resumed_from == 1
    assert same_weights(straight, resumed)
    assert rows_of(again) == rows_of(run)


def test_resume_of_a_finished_training_changes_nothing(tmp_path):
    first, run, result = toy_fit(tmp_path / "run")
    rows = rows_of(run)
    second, run, again = toy_fit(tmp_path / "run", resume=True)
    assert same_weights(first, second)
    assert rows_of(run) == rows
    assert again.steps == result.steps


def test_damaged_newest_checkpoint(tmp_path, caplog):
    straight, run, _ = toy_fit(tmp_path / "straight", save_steps=2, keep_checkpoints=3)
    with pytest.raises(Killed):
        toy_fit(tmp_path / "run", source=Interrupting(20, kill), save_steps=2, keep_checkpoints=3)
    newest = Run.open(tmp_path / "run").ckpt_dir / "checkpoint-20"
    file = newest / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    resumed, again, result = toy_fit(tmp_path / "run", resume=True, save_steps=2, keep_checkpoints=3)
    assert str(newest) in caplog.text
    assert result.resumed_from == 18
    assert same_weights(straight, resumed)
    assert rows_of(again) == rows_of(run)


def test_lost_best_weights_are_said(tmp_path, caplog):
    with pytest.raises(Killed):
        toy_fit(tmp_path / "run", source=Interrupting(23, kill), learning_rate=3.0, save_steps=1)
    run = Run.open(tmp_path / "run")
    best = json.loads((run.ckpt_dir / "checkpoint-23" / "state.json").read_text())["train"]["best"]["step"]
    (run.ckpt_dir / f"checkpoint-{best}" / "model.safetensors").unlink()
    _, _, result = toy_fit(tmp_path / "run", resume=True, learning_rate=3.0, save_steps=1)
    if result.best.step == best:  # nothing better came afterwards
        assert "best step are lost" in caplog.text


def test_resume_with_other_settings_or_data_is_refused(tmp_path):
    """R12: the result would be neither the one nor the other."""
    with pytest.raises(Killed):
        toy_fit(tmp_path / "run", source=Interrupting(15, kill), save_steps=2)
    before = (tmp_path / "run" / "events.jsonl").read_bytes()
    for options, named in (
        ({"learning_rate": 0.1}, "learning_rate"),
        ({"seed": 1}, "seed"),
        ({"source": ToySource(51)}, "samples"),
        ({"source": ToySource(tokens=70)}, "batches"),
        ({"model": ToyModel(width=6).requires_grad_(True)}, "parameters"),
    ):
        with pytest.raises(CheckpointError, match=named):
            toy_fit(tmp_path / "run", resume=True, **{"save_steps": 2, **options})
    assert (tmp_path / "run" / "events.jsonl").read_bytes() == before
    toy_fit(tmp_path / "run", resume=True, save_steps=7, keep_checkpoints=1)  # these may change


def test_a_used_run_is_not_overwritten(tmp_path):
    toy_fit(tmp_path / "run", epochs=1)
    with pytest.raises(RunExistsError):
        toy_fit(tmp_path / "run", epochs=1)


# --- numbers that are none


class Poisoned(ToySource):
    """A label that overflows, from some epoch on."""

    def __init__(self, row: int, value: float, **options) -> None:
        super().__init__(**options)
        self.row, self.value, self.active = row, value, False

    def load(self, indices):
        batch = super().load(indices)
        if self.active and self.row in indices.tolist():
            batch["y"][indices.tolist().index(self.row)] = self.value
        return batch


@pytest.mark.parametrize("value", [1e38, math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_step_and_row(tmp_path, value):
    """R6: before any weight is touched, and the checkpoints stay."""
    model, source = ToyModel(), Poisoned(17, value)
    run = Run.create(tmp_path / "run", {})
    at_evaluation = []

    def validate() -> dict[str, float]:
        source.active = True
        at_evaluation.append(model.head.weight.detach().clone())
        return {"loss": 1.0}

    first = ToySource().plan(1)
    position = next(i for i, batch in enumerate(first) if 17 in batch.tolist())
    settings = FitSettings(epochs=3, learning_rate=0.0, device="cpu", max_grad_norm=0.0)
    with run.lock(), pytest.raises(NonFiniteError) as caught:
        fit(model, source, validate, run, settings)
    step = len(ToySource().plan(0)) + position + 1
    assert f"step {step} " in caught.value.found
    assert [problem.line for problem in caught.value.problems] == [19]  # row 17 under a header
    assert "labels are extreme" in caught.value.found
    assert caught.value.fix.count(";") == 2  # three remedies
    assert torch.equal(model.head.weight, at_evaluation[0])  # learning rate 0: not a bit has changed
    assert torch.isfinite(model.head.weight).all()
    assert list(list_checkpoints(run.ckpt_dir)) == [11]


def test_a_gradient_that_is_not_finite(tmp_path):
    model = ToyModel()
    before = model.head.weight.detach().clone()
    model.head.weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(NonFiniteError, match="gradient of optimizer step 1 ") as caught:
        toy_fit(tmp_path / "run", model=model)
    assert torch.equal(model.head.weight, before)
    assert caught.value.problems
    assert "--learning-rate" in caught.value.fix
    assert "--on-nan rollback" in caught.value.fix


class Exploding(ToyModel):
    """Its gradient overflows in one step, unless the weights were reached with a low learning rate."""

    def __init__(self, source: ToySource, at: int, times: int) -> None:
        super().__init__()
        self.at, self.times = len(source.plan(0)) + at, times
        self.steps = self.failures = 0
        self.head.weight.register_hook(self._maybe)

    def _maybe(self, gradient: torch.Tensor) -> torch.Tensor:
        self.steps += 1
        if self.steps == self.at and self.failures < self.times:
            self.failures += 1
            self.steps = self.at - 3  # the checkpoint that training goes back to lies three steps before
            return gradient * math.nan
        return gradient


def test_rollback_goes_back_and_halves_the_learning_rate(tmp_path, caplog):
    """Two steps after a checkpoint the gradient is no number, twice; then it is."""
    source = ToySource()
    model = Exploding(source, at=3, times=2)  # steps 12 and 13 are good, 14 is not; epoch 1 ends with 11
    _, run, result = toy_fit(
        tmp_path / "run", model=model, source=source, on_nan="rollback", schedule="constant", epochs=3
    )
    assert result.steps == 33
    assert torch.isfinite(model.head.weight).all()
    rollbacks = [event for event in run.events() if event["event"] == "rollback"]
    assert [(e["step"], e["to_step"], e["count"], e["factor"]) for e in rollbacks] == [
        (14, 11, 1, 0.5),
        (14, 11, 2, 0.25),
    ]
    rows = [row for row in rows_of(run) if row["event"] == "step"]
    assert [row["step"] for row in rows] == list(range(1, 34))  # every step once
    rates = {row["step"]: row["learning_rate"] for row in rows}
    assert (rates[11], rates[12], rates[33]) == (0.05, 0.0125, 0.0125)
    assert "Back to step 11 with 0.25 times the learning rate" in caplog.text


def test_rollback_is_bounded_and_starts_from_the_beginning_if_it_must(tmp_path):
    source = Poisoned(17, math.nan)
    source.active = True  # from the very first step on: going back cannot help
    with pytest.raises(NonFiniteError):
        toy_fit(tmp_path / "run", source=source, on_nan="rollback")
    run = Run.open(tmp_path / "run")
    assert [e["to_step"] for e in run.events() if e["event"] == "rollback"] == [0, 0, 0]


def test_a_training_that_went_back_resumes_bit_for_bit(tmp_path):
    """Killed after the rollback and before the next checkpoint: the rollback happens again, once."""

    def options() -> dict:
        source = ToySource()
        return {"model": Exploding(source, at=3, times=1), "on_nan": "rollback", "epochs": 3}

    straight, run, _ = toy_fit(tmp_path / "straight", source=ToySource(), **options())
    chosen = options()
    with pytest.raises(Killed):
        toy_fit(tmp_path / "run", source=Interrupting(16, kill), **chosen)
    chosen["model"] = (
        ToyModel()
    )  # from the checkpoint on nothing overflows, as the second time in the first run
    chosen["model"].head.weight.register_hook(once_at(3))
    resumed, again, result = toy_fit(tmp_path / "run", source=ToySource(), resume=True, **chosen)
    assert result.resumed_from == 11
    assert same_weights(straight, resumed)
    assert rows_of(again) == rows_of(run)
    for one in (run, again):
        assert [e["count"] for e in one.events() if e["event"] == "rollback"] == [1]


def once_at(call: int):
    """A hook that makes the n-th gradient no number."""
    calls = []

    def hook(gradient: torch.Tensor) -> torch.Tensor:
        calls.append(gradient)
        return gradient * math.nan if len(calls) == call else gradient

    return hook


# --- precision, device, settings


def test_bf16_trains_and_leaves_no_trace_on_the_model(tmp_path):
    model, run, _ = toy_fit(tmp_path / "run", precision="bf16", epochs=5)
    values = evaluations(run)
    assert values[-1]["train_loss"] < values[0]["train_loss"]
    assert model.head.weight.dtype == torch.float32
    assert "forward" not in vars(model)  # accelerate's autocast wrapper is gone
    toy_fit(tmp_path / "again", precision="fp32", epochs=1)  # another precision in the same process


def test_impossible_precision_and_device(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="fp16"):
        toy_fit(tmp_path / "a", precision="fp16")
    with pytest.raises(ConfigError, match="cuda"):
        toy_fit(tmp_path / "b", device="cuda")


def test_nothing_to_train_on(tmp_path):
    with pytest.raises(ConfigError, match="nothing to train"):
        toy_fit(tmp_path / "run", source=ToySource(0))


def test_all_impossible_settings_at_once():
    with pytest.raises(ConfigError) as caught:
        FitSettings(epochs=0, learning_rate=math.nan, mode="best", max_steps=0, patience=-1)
    names = {problem.column for problem in caught.value.problems}
    assert names == {"epochs", "learning_rate", "mode", "max_steps", "patience"}


def test_rows_stay_few_and_complete(tmp_path):
    """A long training writes a row every so many steps, the mean of them."""
    source = ToySource(300, tokens=20)
    _, run, result = toy_fit(tmp_path / "run", source=source, epochs=10, learning_rate=0.0, max_grad_norm=0)
    rows = [row for row in rows_of(run) if row["event"] == "step"]
    assert result.steps > 1000
    assert 450 < len(rows) < 1100
    assert rows[-1]["step"] == result.steps


def test_status_says_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr("profactory.training.reporter.STATUS_SECONDS", 0.0)
    seen = []
    original = Run.set_status
    monkeypatch.setattr(
        Run, "set_status", lambda self, state, **f: (seen.append(f), original(self, state, **f))
    )
    _, _, result = toy_fit(tmp_path / "run", epochs=2)
    assert {"step", "total_steps", "epoch", "epochs", "monitor", "best", "eta_seconds"} <= seen[3].keys()
    assert [fields["step"] for fields in seen[1:4]] == [1, 2, 3]
    assert seen[3]["eta_seconds"] >= 0  # rounded to tenths: 0.0 on a quick machine
    assert seen[-1]["step"] == result.steps


def test_source_path(tmp_path: Path):
    """The toy itself: its batches differ in size, or the tests above would prove little."""
    assert len({len(batch) for batch in ToySource().plan(0)}) > 2


# --- memory


class Narrow(ToyModel):
    """Fails like a GPU when a batch has more than so many samples."""

    def __init__(self, room: int) -> None:
        super().__init__(dropout=0.0)
        self.room, self.attempts = room, []

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the loss, if there is room."""
        self.attempts.append(len(x))
        if len(x) > self.room:
            raise torch.OutOfMemoryError(f"no room for {len(x)}")
        return super().forward(x, y)


def test_out_of_memory_halves_and_does_the_same_step_again(tmp_path, caplog):
    """R7: same objective, same number of steps; the smaller budget is kept and noted."""
    wide, run, result = toy_fit(tmp_path / "wide", model=ToyModel(dropout=0.0), gradient_accumulation=2)
    narrow = Narrow(2)
    _, again, second = toy_fit(tmp_path / "narrow", model=narrow, gradient_accumulation=2)
    assert max(len(b) for b in ToySource().plan(0)) > 4
    assert (second.steps, second.epochs) == (result.steps, result.epochs)
    for one, two in zip(rows_of(run), rows_of(again), strict=True):
        assert two["step"] == one["step"]
        if "loss" in one:
            assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
    torch.testing.assert_close(narrow.head.weight, wide.head.weight, rtol=1e-4, atol=1e-6)
    noted = [event["pieces"] for event in again.events() if event["event"] == "memory"]
    assert noted == sorted(set(noted))
    assert noted[-1] >= 4
    assert "in 4 pieces" in caplog.text
    assert max(narrow.attempts[len(narrow.attempts) // 2 :]) <= 2  # never tried the larger batch again


def test_the_smaller_budget_survives_a_resume(tmp_path):
    with pytest.raises(Killed):
        toy_fit(tmp_path / "run", model=Narrow(2), source=Interrupting(60, kill), save_steps=1)
    model = Narrow(2)
    toy_fit(tmp_path / "run", model=model, resume=True, save_steps=1)
    assert max(model.attempts) <= 2


def test_not_even_one_sample_fits(tmp_path):
    model = Narrow(0)
    before = model.head.weight.detach().clone()
    with pytest.raises(MemoryBudgetError, match="no room for 1") as caught:
        toy_fit(tmp_path / "run", model=model)
    assert "--max-length" in caught.value.fix
    assert torch.equal(model.head.weight, before)


def test_other_errors_are_not_taken_for_a_lack_of_memory(tmp_path):
    class Broken(ToyModel):
        def forward(self, x, y):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        toy_fit(tmp_path / "run", model=Broken())
