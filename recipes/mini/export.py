"""The model of a finished pretraining as it is bundled: 16-bit weights, nothing but the language model.

python recipes/mini/export.py --model RUN/model --out src/profactory/models/mini
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import EsmForMaskedLM

from profactory.pretraining.export import export_model

LARGEST = 10_000_000  # bytes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="model folder of the run")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    export_model(EsmForMaskedLM.from_pretrained(args.model), args.out, torch.float16)
    size = (args.out / "model.safetensors").stat().st_size
    print(f"{args.out / 'model.safetensors'}: {size:,} bytes")
    if size > LARGEST:
        raise SystemExit(f"That is more than the {LARGEST:,} bytes that the package allows.")


if __name__ == "__main__":
    main()
