"""Public ONNX files as they are: the model server takes them by its default flags and computes what onnxruntime does."""

import os
import pathlib

import files
import harness
import pytest

MODELS = pathlib.Path(os.environ.get("PUBLIC_MODELS", "."))


@pytest.mark.parametrize("file", files.SMALL, ids=lambda file: file.path)
def test_a_public_file_is_served_as_it_is(file):
    row = harness.compare(file.path, MODELS / file.path, *file[1:])
    assert row.loads and row.equal, row
