#!/usr/bin/env python3
"""Writes the files of this folder, which need PyTorch 2.11 to be made and nothing to be used:

    linear.pt         the built-in model (models/linear.onnx), as torch.jit.save writes it
    predictions.f32   what PyTorch computes by it, alone, for each of 10,000 vectors: two little-endian singles each
    weights.pt        its weights without a program, as torch.save writes them
    weights-1.5.pt    the same as PyTorch before 1.6 wrote them, a bare pickle
    program.pt2       its program, as torch.export.save writes it
    named.pt          ids and an optional mask in, a dictionary of a half-precision and a truth value tensor out
    pairs.pt          doubles in, a tuple of them and a list of whole numbers out

The vectors are numbers from 0 to 1 of the generator of models/generate.py, seed VECTORS_SEED; parity.rs makes the same.

    python3 -m pip install torch==2.11.0 && python3 generate.py
"""

import pathlib
import sys
import zipfile
from typing import Dict, List, Optional, Tuple

import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "models"))
import generate as models

VECTORS_SEED = 10_000
VECTORS = 10_000


def main():
    weight, bias = models.linear_weights()
    linear = torch.nn.Linear(models.FEATURES, models.CLASSES)
    linear.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})
    linear.eval()
    torch.jit.save(torch.jit.script(linear), HERE / "linear.pt")
    without_places(HERE / "linear.pt")
    torch.save(linear.state_dict(), HERE / "weights.pt")
    torch.save(linear.state_dict(), HERE / "weights-1.5.pt", _use_new_zipfile_serialization=False)
    example = (torch.zeros(2, models.FEATURES),)
    program = torch.export.export(linear, example)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    torch.export.save(program, HERE / "program.pt2")
    for module, name in ((Named(), "named.pt"), (Pairs(), "pairs.pt")):
        torch.jit.save(torch.jit.script(module.eval()), HERE / name)
        without_places(HERE / name)
    random = models.Random(VECTORS_SEED)
    with open(HERE / "predictions.f32", "wb") as file, torch.inference_mode():
        for _ in range(VECTORS):
            vector = torch.tensor([random.uniform(0.5) + 0.5 for _ in range(models.FEATURES)])
            file.write(linear(vector).numpy().astype("<f4").tobytes())


class Named(torch.nn.Module):
    def forward(self, ids: torch.Tensor, mask: Optional[torch.Tensor]) -> Dict[str, torch.Tensor]:
        chosen = ids > 0 if mask is None else mask
        return {"half": (ids * chosen).to(torch.float16) / 2, "chosen": chosen}


class Pairs(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> Tuple[torch.Tensor, List[torch.Tensor]]:
        return x * 2, [x.to(torch.int64), x.sum(1).to(torch.int32)]


def without_places(path):
    """Leaves out where on this machine each line of the program came from."""
    with zipfile.ZipFile(path) as archive:
        kept = [(entry, archive.read(entry)) for entry in archive.infolist() if not entry.filename.endswith(".debug_pkl")]
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in kept:
            archive.writestr(zipfile.ZipInfo(entry.filename), content)


main()
