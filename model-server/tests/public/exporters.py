"""Writes models by today's exporters into a folder, as people write them: by the defaults, and by what was the default.

    exporters.py FOLDER

Besides the files, FOLDER gets index.json: for each the shapes to ask it with, and an upper bound for integers.
"""

import json
import pathlib
import sys
import warnings

import numpy
import onnx
import sklearn.datasets
import sklearn.decomposition
import sklearn.ensemble
import sklearn.linear_model
import sklearn.pipeline
import sklearn.preprocessing
import sklearn.svm
import torch
from onnxruntime import quantization
from skl2onnx import to_onnx
from skl2onnx.common.data_types import StringTensorType

FOLDER = pathlib.Path(sys.argv[1])
INDEX = []


class Mlp(torch.nn.Sequential):
    """8.0 million weights."""

    def __init__(self):
        widths = [768, 2048, 2048, 1024]
        layers = []
        for width, next_width in zip(widths, widths[1:]):
            layers += [torch.nn.Linear(width, next_width), torch.nn.ReLU()]
        super().__init__(*layers, torch.nn.Linear(1024, 10))


class Cnn(torch.nn.Sequential):
    """For images of 32 by 32."""

    def __init__(self):
        super().__init__(
            *(torch.nn.Conv2d(3, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)),
            *(torch.nn.Conv2d(32, 64, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)),
            *(torch.nn.Flatten(), torch.nn.Linear(64 * 8 * 8, 10)),
        )


class Lstm(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(8, 32, batch_first=True)
        self.head = torch.nn.Linear(32, 4)

    def forward(self, steps):
        return self.head(self.lstm(steps)[0][:, -1])


class Transformer(torch.nn.Module):
    """Four layers over tokens of a text and a mask, as BERT has them."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(1000, 128)
        layer = torch.nn.TransformerEncoderLayer(128, 4, 512, batch_first=True)
        self.encoder = torch.nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = torch.nn.Linear(128, 2)

    def forward(self, input_ids, attention_mask):
        hidden = self.encoder(self.embedding(input_ids), src_key_padding_mask=attention_mask == 0)
        return self.head(hidden[:, 0])


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    ids = torch.randint(0, 1000, (2, 16))
    for name, model, arguments, below in [
        ("linear", torch.nn.Linear(768, 2), {"features": torch.rand(2, 768)}, {}),
        ("mlp", Mlp(), {"features": torch.rand(2, 768)}, {}),
        ("cnn", Cnn(), {"images": torch.rand(2, 3, 32, 32)}, {}),
        ("lstm", Lstm(), {"steps": torch.rand(2, 20, 8)}, {}),
        ("transformer", Transformer(), {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, {"input_ids": 1000, "attention_mask": 2}),
        ("half", torch.nn.Linear(64, 8).half(), {"features": torch.rand(2, 64).half()}, {}),
    ]:
        export(name, model.eval(), arguments, below)
    quantise()
    scikit_learn()
    (FOLDER / "index.json").write_text(json.dumps(INDEX, indent=1) + "\n")


def export(name, model, arguments, below):
    names, example = list(arguments), tuple(arguments.values())
    shapes = {key: [3, *tensor.shape[1:]] for key, tensor in arguments.items()}
    batch = torch.export.Dim("batch")
    # Each in a folder of its own: the default exporter writes weights beside the file.
    default = path(f"torch-default-{name}/model.onnx")
    torch.onnx.export(model, example, default, input_names=names, dynamo=True, dynamic_shapes=tuple({0: batch} for _ in names))
    add(f"torch-default-{name}/model.onnx", shapes, below)
    legacy = path(f"torch-legacy-{name}.onnx")
    torch.onnx.export(model, example, legacy, input_names=names, output_names=["output"], dynamo=False, dynamic_axes={key: {0: "batch"} for key in [*names, "output"]})
    add(f"torch-legacy-{name}.onnx", shapes, below)
    if name == "linear":
        # As the tutorial's readers call it: nothing is dynamic.
        torch.onnx.export(model, example, path("torch-plain-linear/model.onnx"), input_names=names)
        add("torch-plain-linear/model.onnx", {"features": [2, 768]}, {})


def quantise():
    """The MLP in the three ways that onnxruntime's tools know."""
    source, shapes = FOLDER / "torch-legacy-mlp.onnx", {"features": [3, 768]}
    quantization.quantize_dynamic(source, path("quantised-dynamic-mlp.onnx"), weight_type=quantization.QuantType.QInt8)
    add("quantised-dynamic-mlp.onnx", shapes, {})

    class Rows(quantization.CalibrationDataReader):
        def __init__(self):
            random = numpy.random.default_rng(8)
            self.rows = iter([{"features": random.uniform(-1, 1, (8, 768)).astype(numpy.float32)} for _ in range(4)])

        def get_next(self):
            return next(self.rows, None)

    for form in (quantization.QuantFormat.QDQ, quantization.QuantFormat.QOperator):
        name = f"quantised-{form.name.lower()}-mlp.onnx"
        quantization.quantize_static(source, path(name), Rows(), quant_format=form)
        add(name, shapes, {})


def scikit_learn():
    classes, labels = sklearn.datasets.make_classification(500, 20, n_classes=3, n_informative=8, random_state=0)
    numbers = classes @ numpy.arange(20.0)
    small = classes.astype(numpy.float32)
    forest = sklearn.ensemble.RandomForestClassifier(20, random_state=0).fit(small, labels)
    pipeline = sklearn.pipeline.make_pipeline(sklearn.preprocessing.StandardScaler(), sklearn.linear_model.LogisticRegression()).fit(small, labels)
    words = numpy.array([[f"text {number % 4}", f"text {number % 3}"] for number in range(24)], dtype=object)
    for name, model, example in [
        ("linear-regression", sklearn.linear_model.LinearRegression().fit(small, numbers), small[:1]),
        ("pca-double", sklearn.decomposition.PCA(4).fit(classes), classes[:1]),
        ("scaler", sklearn.preprocessing.StandardScaler().fit(small), small[:1]),
        ("trees-regressor", sklearn.ensemble.GradientBoostingRegressor(n_estimators=20).fit(small, numbers), small[:1]),
        ("svm", sklearn.svm.SVR().fit(small, numbers), small[:1]),
    ]:
        save(f"sklearn-{name}", to_onnx(model, example), {"X": [5, 20]})
    for name, model in [("forest-classifier", forest), ("pipeline-classifier", pipeline)]:
        save(f"sklearn-{name}", to_onnx(model, small[:1], options={"zipmap": False}), {"X": [5, 20]})
        # By the defaults: the second output is a list of maps, which no tensor can be.
        save(f"sklearn-{name}-zipmap", to_onnx(model, small[:1]), {"X": [5, 20]})
    encoder = sklearn.preprocessing.OneHotEncoder(sparse_output=False, handle_unknown="ignore").fit(words)
    save("sklearn-one-hot-of-texts", to_onnx(encoder, initial_types=[("words", StringTensorType([None, 2]))]), {"words": [4, 2]})


def path(name):
    path = FOLDER / name
    path.parent.mkdir(exist_ok=True)
    return path


def save(name, model, shapes):
    onnx.save(model, path(f"{name}.onnx"))
    add(f"{name}.onnx", shapes, {})


def add(name, shapes, below):
    INDEX.append({"path": name, "shapes": shapes, "below": below})
    print(name, flush=True)


main()
