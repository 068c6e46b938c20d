"""Training beside the same job in Hugging Face's Trainer, as its documentation writes it.

usage: python benchmarks/training.py [--repeats 3] [--cases freeze lora full] [--out FILE]

Both train the bundled model on the bundled set `demo-location` (800 training, 140 validation, 200 test
sequences) for the same number of epochs, evaluate after each, and measure the best epoch on the test set.
The Trainer's side is the text classification example of its documentation:
AutoModelForSequenceClassification, a padding collator, batches of 16 in random order, fp32; for LoRA,
PEFT's own sequence-classification example (rank 8 on query, key and value). ProFactory's side is the whole
of `profactory train`: reading and checking the table, baselines, bootstrap intervals, plots and report
included; it starts with empty caches.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import measuring
import numpy as np

DATA = "demo-location"
CASES = {
    "freeze": {"method": "freeze", "epochs": 20, "learning_rate": 1e-3},
    "lora": {"method": "lora", "epochs": 3, "learning_rate": 1e-3},
    "full": {"method": "full", "epochs": 3, "learning_rate": 3e-4},
}


def profactory(case: Mapping[str, Any]) -> dict[str, Any]:
    """Train with nothing but the method, the epochs and the learning rate given."""
    import os

    from profactory import api

    with tempfile.TemporaryDirectory() as folder:
        os.environ["PROFACTORY_CACHE"] = f"{folder}/cache"
        run = api.train(
            f"bundled:{DATA}",
            out=Path(folder) / "run",
            method=case["method"],
            epochs=1 if case["small"] else case["epochs"],
            learning_rate=case["learning_rate"],
            limit=100 if case["small"] else None,
            patience=0,
        )
        return {"mcc": round(run.metrics["test"]["mcc"]["value"], 3)}


def trainer(case: Mapping[str, Any]) -> dict[str, Any]:
    """Train with transformers.Trainer, and PEFT for LoRA."""
    from sklearn.metrics import matthews_corrcoef
    from transformers import (
        AutoModelForSequenceClassification,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    from profactory.models.zoo import resolve

    tokenizer, parts, classes = tokenized(case["small"])
    model = AutoModelForSequenceClassification.from_pretrained(resolve("mini").source, num_labels=classes)
    if case["method"] == "freeze":
        for parameter in model.base_model.parameters():
            parameter.requires_grad = False
    elif case["method"] == "lora":
        from peft import LoraConfig, TaskType, get_peft_model

        config = LoraConfig(
            task_type=TaskType.SEQ_CLS, r=8, lora_alpha=16, target_modules=["query", "key", "value"]
        )
        model = get_peft_model(model, config)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=1 if case["small"] else case["epochs"],
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
            model=model,
            args=arguments,
            train_dataset=parts["train"],
            eval_dataset=parts["validation"],
            data_collator=DataCollatorWithPadding(tokenizer),
            compute_metrics=lambda found: {
                "mcc": matthews_corrcoef(found.label_ids, found.predictions.argmax(-1))
            },
        )
        loop.train()
        predicted = loop.predict(parts["test"]).predictions.argmax(-1)
    truth = [row["labels"] for row in parts["test"]]
    return {"mcc": round(float(matthews_corrcoef(truth, predicted)), 3)}


def tokenized(small: bool) -> tuple[Any, dict[str, list[dict[str, Any]]], int]:
    """Return the tokenizer, the tokenised parts of the data, and the number of classes."""
    import pandas as pd
    from transformers import AutoTokenizer

    from profactory.data.bundled import bundled_path
    from profactory.models.zoo import resolve

    table = pd.read_csv(bundled_path(f"bundled:{DATA}"), keep_default_na=False)
    names = sorted(table["label"].unique())
    tokenizer = AutoTokenizer.from_pretrained(resolve("mini").source)
    parts: dict[str, list[dict[str, Any]]] = {}
    for part, spelled in {
        "train": ("train",),
        "validation": ("valid", "validation"),
        "test": ("test",),
    }.items():
        rows = table[table["split"].isin(spelled)].head(32 if small else len(table))
        encoded = tokenizer(rows["sequence"].tolist(), truncation=True, max_length=1024)
        labels = np.array([names.index(label) for label in rows["label"]])
        parts[part] = [
            {"input_ids": ids, "attention_mask": mask, "labels": int(label)}
            for ids, mask, label in zip(encoded["input_ids"], encoded["attention_mask"], labels, strict=True)
        ]
    return tokenizer, parts, len(names)


if __name__ == "__main__":
    measuring.run({"trainer": trainer, "profactory": profactory}, CASES, reference="trainer")
