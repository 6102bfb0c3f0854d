"""What exporters.py wrote."""

import json
import pathlib
from typing import NamedTuple

import harness


class Exported(NamedTuple):
    path: str
    shapes: dict
    below: dict


def listed(folder: pathlib.Path) -> list:
    return [Exported(**model) for model in json.loads((folder / "index.json").read_text())]


def compare(folder: pathlib.Path, model: Exported) -> harness.Row:
    return harness.compare(model.path, folder / model.path, model.shapes, model.below)
