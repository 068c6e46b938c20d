"""Training beside the same job in Hugging Face's Trainer, as its documentation writes it.

usage: python benchmarks/training.py [--minutes 6] [--repeats 3] [--cases freeze lora full] [--out FILE]

Both train the bundled model on the same rows of the bundled set of cellular locations for the same number of
epochs, evaluate after each, and measure the best epoch on the same 200 test sequences. The Trainer's side is
the text classification example of its documentation: AutoModelForSequenceClassification, a padding collator,
batches of 16 in random order, fp32; for LoRA, PEFT's own sequence-classification example (rank 8 on query,
key and value). ProFactory's side is the whole of `profactory train` with empty caches: reading and checking
the table, baselines, bootstrap intervals, plots and report included. `training_seconds` is the part of it
that the Trainer's side also does: embedding, training and evaluating.

A frozen backbone is computed once here and in every epoch there, so the ratio grows with the epochs and with
the sequences. The case `freeze-all` has all rows of the set; `make bench` leaves it out, since the Trainer
needs several minutes for it.

biotrainer asks for another onnx than ProFactory's extra `export`, so it runs in an environment of its own, if
BIOTRAINER_PYTHON names the Python of one. It too computes a frozen backbone once, and its side is a whole run
too: reading and checking the FASTA file, embedding, training, testing with bootstrapping.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import material
import measuring

SMALL_ROWS = (32, 16, 16)
EXACT = ["trainer", "biotrainer", "profactory"]
TUNED = ["trainer", "profactory", "profactory fp32"]
CASES = {
    "freeze": {
        "method": "freeze",
        "epochs": 20,
        "learning_rate": 1e-3,
        "rows": (140, 50, 200),
        "contenders": EXACT,
    },
    "lora": {
        "method": "lora",
        "epochs": 2,
        "learning_rate": 1e-3,
        "rows": (200, 50, 200),
        "contenders": TUNED,
    },
    "full": {
        "method": "full",
        "epochs": 2,
        "learning_rate": 3e-4,
        "rows": (200, 50, 200),
        "contenders": TUNED,
    },
    "freeze-all": {
        "method": "freeze",
        "epochs": 20,
        "learning_rate": 1e-3,
        "rows": (800, 140, 200),
        "contenders": EXACT,
    },
}


def profactory(case: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """Train with nothing but the method, the epochs and the learning rate given, and `options`."""
    from profactory import api
    from profactory.pipeline import single

    seconds, fit = [], single.fit_model

    def timed(*given: Any, **named: Any) -> Any:
        start = time.perf_counter()
        trained = fit(*given, **named)
        seconds.append(time.perf_counter() - start)
        return trained

    single.fit_model = timed
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["PROFACTORY_CACHE"] = f"{folder}/cache"
            run = api.train(
                table(case, folder),
                out=Path(folder) / "run",
                method=case["method"],
                epochs=epochs(case),
                learning_rate=case["learning_rate"],
                patience=0,
                **options,
            )
            mcc = round(run.metrics["test"]["mcc"]["value"], 3)
    finally:
        single.fit_model = fit
    return {"mcc": mcc, "training_seconds": round(seconds[0], 3)}


def profactory_fp32(case: Mapping[str, Any]) -> dict[str, Any]:
    """Train with --precision fp32; without it LoRA and full take bf16 where the processor has it."""
    return profactory(case, precision="fp32")


def trainer(case: Mapping[str, Any]) -> dict[str, Any]:
    """Train with transformers.Trainer, and PEFT for LoRA."""
    from sklearn.metrics import matthews_corrcoef
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    with tempfile.TemporaryDirectory() as folder:
        tokenizer, parts, classes = tokenized(table(case, folder))
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs(case),
            learning_rate=case["learning_rate"],
            per_device_train_batch_size=16,
            per_device_eval_batch_size=16,
            eval_strategy="epoch",
            save_strategy="epoch",
            load_best_model_at_end=True,
            metric_for_best_model="mcc",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            seed=0,
        )
        loop = Trainer(
            model=classifier(case["method"], classes),
            args=arguments,
            train_dataset=parts["train"],
            eval_dataset=parts["valid"],
            data_collator=DataCollatorWithPadding(tokenizer),
            compute_metrics=lambda found: {
                "mcc": matthews_corrcoef(found.label_ids, found.predictions.argmax(-1))
            },
        )
        loop.train()
        predicted = loop.predict(parts["test"]).predictions.argmax(-1)
    truth = [row["labels"] for row in parts["test"]]
    return {"mcc": round(float(matthews_corrcoef(truth, predicted)), 3)}


def biotrainer(case: Mapping[str, Any]) -> dict[str, Any]:
    """Train with biotrainer in its own environment, where imports and a small run come first."""
    from profactory.models.zoo import resolve

    interpreter = os.environ.get("BIOTRAINER_PYTHON")
    if not interpreter:
        raise measuring.UnavailableError("BIOTRAINER_PYTHON does not name a Python with biotrainer")
    with tempfile.TemporaryDirectory() as folder:
        work = {
            "fasta": str(fasta(table(case, folder), Path(folder) / "all.fasta")),
            "small": str(fasta(table({**case, "small": True}, folder), Path(folder) / "small.fasta")),
            "model": resolve("mini").source,
            "epochs": epochs(case),
            "learning_rate": case["learning_rate"],
        }
        file = Path(folder) / "work.json"
        file.write_text(json.dumps(work), encoding="utf-8")
        script = Path(__file__).with_name("with_biotrainer.py")
        done = subprocess.run([interpreter, script, file], capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def fasta(rows: Path, file: Path) -> Path:
    """Write a table as biotrainer reads it."""
    names = {"train": "train", "valid": "val", "test": "test"}
    with rows.open(encoding="utf-8", newline="") as handle:
        records = [
            f">{row['accession']} TARGET={row['label'].replace(' ', '_')} SET={names[row['split']]}\n"
            f"{row['sequence']}\n"
            for row in csv.DictReader(handle)
        ]
    file.write_text("".join(records), encoding="utf-8")
    return file


def classifier(method: str, classes: int) -> Any:
    """Return the model that the Trainer trains."""
    from transformers import AutoModelForSequenceClassification

    from profactory.models.zoo import resolve

    model = AutoModelForSequenceClassification.from_pretrained(resolve("mini").source, num_labels=classes)
    if method == "freeze":
        for parameter in model.base_model.parameters():
            parameter.requires_grad = False
    if method != "lora":
        return model
    from peft import LoraConfig, TaskType, get_peft_model

    config = LoraConfig(
        task_type=TaskType.SEQ_CLS, r=8, lora_alpha=16, target_modules=["query", "key", "value"]
    )
    return get_peft_model(model, config)


def tokenized(file: Path) -> tuple[Any, dict[str, list[dict[str, Any]]], int]:
    """Return the tokenizer, the tokenised parts of the data, and the number of classes."""
    import pandas as pd
    from transformers import AutoTokenizer

    from profactory.models.zoo import resolve

    frame = pd.read_csv(file, keep_default_na=False)
    names = sorted(frame["label"].unique())
    tokenizer = AutoTokenizer.from_pretrained(resolve("mini").source)
    parts: dict[str, list[dict[str, Any]]] = {}
    for part, rows in frame.groupby("split"):
        encoded = tokenizer(rows["sequence"].tolist(), truncation=True, max_length=1024)
        columns = zip(encoded["input_ids"], encoded["attention_mask"], rows["label"], strict=True)
        parts[str(part)] = [
            {"input_ids": ids, "attention_mask": mask, "labels": names.index(label)}
            for ids, mask, label in columns
        ]
    return tokenizer, parts, len(names)


def table(case: Mapping[str, Any], folder: str) -> Path:
    """Write the table of a case."""
    rows = SMALL_ROWS if case["small"] else case["rows"]
    return material.location_table(Path(folder) / "table.csv", *rows)


def epochs(case: Mapping[str, Any]) -> int:
    """Return how long to train."""
    return 1 if case["small"] else int(case["epochs"])


CONTENDERS = {
    "trainer": trainer,
    "biotrainer": biotrainer,
    "profactory": profactory,
    "profactory fp32": profactory_fp32,
}

if __name__ == "__main__":
    measuring.run(CONTENDERS, CASES, reference="trainer")
