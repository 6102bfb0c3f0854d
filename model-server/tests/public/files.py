"""Public ONNX files and what they are asked: shapes of their inputs, and values where not any will do."""

from typing import NamedTuple


class File(NamedTuple):
    path: str
    """In the folder that scripts/models prints."""
    inputs: dict
    """The shape of each input."""
    below: dict = {}
    """Integers are random from 0 to this, not included; 256 where nothing is said."""
    values: dict = {}
    """Inputs with the same value in every element."""


def silero(name, inputs, values={"sr": 16000}):
    return File(f"silero_vad/data/{name}.onnx", inputs, values=values)


def romanizer(language, letters, source):
    folder = "arabic_name_romanizer/resources/" + language
    masks = {"src_mask": False}
    encoder = {"src": (2, 9), "src_mask": (2, 9)}
    decoder = {"prefix": (2, 4), "memory": (2, 9, 256), "src_mask": (2, 9), "hidden": (2, 2, 256)}
    return [
        File(folder + "encoder.onnx", encoder, {"src": source}, masks),
        File(folder + "decoder.onnx", decoder, {"prefix": letters}, masks),
    ]


def speech(path, **inputs):
    return File(f"speechmos/{path}.onnx", inputs)


SMALL = [
    File("basic_pitch/saved_models/icassp_2022/nmp.onnx", {"serving_default_input_2:0": (2, 43844, 1)}),
    File("faster_whisper/assets/silero_vad_v6.onnx", {"input": (3, 576), "h": (1, 1, 128), "c": (1, 1, 128)}),
    silero("silero_vad", {"input": (2, 512), "state": (2, 2, 128), "sr": ()}),
    silero("silero_vad_16k_op15", {"input": (2, 512), "state": (2, 2, 128), "sr": ()}),
    silero("silero_vad_16k_sequence", {"input": (3, 576), "h": (1, 1, 128), "c": (1, 1, 128)}, {}),
    silero("silero_vad_half", {"input": (2, 512), "state": (2, 2, 128)}, {}),
    silero("silero_vad_op18_ifless", {"input": (2, 512), "sr": (), "state": (2, 2, 128)}),
    silero("silero_vad_openvino_16k", {"input": (1, 576), "state": (2, 1, 128)}, {}),
    speech("aecmos_models/Run_1663829550_Stage_0", input=(1, 3, 100, 160), h0=(4, 1, 64)),
    speech("aecmos_models/Run_1663915512_Stage_0", input=(1, 3, 100, 160), h0=(4, 1, 64)),
    speech("aecmos_models/Run_1668423760_Stage_0", input=(1, 3, 100, 160), h0=(4, 1, 96)),
    speech("dnsmos_models/model_v8", input_1=(2, 900, 120)),
    speech("plcmos_models/plcmos_v2", degraded_audio=(1, 1, 50, 257), rater_embed=(1, 64)),
]

# Together with the small ones, all files of the packages.
LARGE = [
    speech("dnsmos_models/bak_ovr", input_1=(2, 901, 161)),
    speech("dnsmos_models/sig", input_1=(2, 901, 161)),
    speech("dnsmos_models/sig_bak_ovr", input_1=(2, 144160)),
    speech("pdnsmos_models/sig_bak_ovr", input_1=(2, 144160)),
    *romanizer("", 160, 48),
    *romanizer("persian/", 148, 48),
    File("brainmaze_eeg_models/seizure/_models/modelA_paper.onnx", {"x": (2, 100, 30)}),
    File("brainmaze_eeg_models/seizure/_models/modelB_full.onnx", {"x": (2, 100, 30)}),
    *(
        File(
            f"brainmaze_eeg_models/spindles/_models/spindle-detector-{kind}.onnx",
            {"raw_signal": (1, 1, 7500), "spectrogram": (1, 15, 7500)},
        )
        for kind in ("eeg", "ieeg")
    ),
    File("ddddocr/common.onnx", {"input1": (1, 1, 64, 160)}),
    File("ddddocr/common_det.onnx", {"images": (1, 3, 416, 416)}),
    File("ddddocr/common_old.onnx", {"input1": (1, 1, 64, 160)}),
    File("magika/models/standard_v3_3/model.onnx", {"bytes": (2, 2048)}),
    File("nudenet/320n.onnx", {"images": (1, 3, 320, 320)}),
    File("rapidocr/models/PP-OCRv6_det_small.onnx", {"x": (1, 3, 160, 320)}),
    File("rapidocr/models/PP-OCRv6_rec_small.onnx", {"x": (2, 3, 48, 160)}),
    File("rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx", {"x": (2, 3, 48, 192)}),
]
