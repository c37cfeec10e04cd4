"""``mmdet export``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from .options import ConfigOptions
from .signature import Function, Option


def export(
    config: str,
    checkpoint: str | None = None,
    *,
    to: Literal['onnx', 'openvino', 'torch-export'],
    out: Annotated[str | None, Option(metavar='DIR')] = None,
    outputs: Literal['raw', 'candidates', 'boxes'] | None = None,
    size: Annotated[tuple[int, int] | None, Option(metavar=('W', 'H'))] = None,
    static: bool = False,
    batch: Annotated[int | None, Option(metavar='N')] = None,
    precision: Literal['fp32', 'fp16', 'bf16', 'int8'] = 'fp32',
    winograd: bool = False,
    symmetric: bool = False,
    calibration: Annotated[str | None, Option(metavar='PATH')] = None,
    calibration_images: Annotated[int, Option(metavar='N')] = 64,
    parity_images: Annotated[str | None, Option(metavar='PATH')] = None,
    ann: Annotated[str | None, Option(metavar='FILE')] = None,
    img: Annotated[str | None, Option(metavar='DIR')] = None,
    ap_images: Annotated[int, Option(metavar='N')] = 500,
    opset: int = 17,
    random_weights: bool = False,
    options: ConfigOptions,
) -> int:
    """Export a detector with its weights, or a searched network.

        mmdet export CONFIG CKPT --to onnx|openvino|torch-export [--out DIR] [--precision fp32|fp16|bf16|int8]
        mmdet export STRUCTURE OUT_DIR [--index 0] [--checkpoint CKPT] [--task classification|detection] [--onnx]

    CONFIG is a config of a detector, or its known name; composite detectors become one folder. The folder gets the networks, manifest.json and
    README.md, and runs without torch (page "Deployment" of the documentation). The export is compared with the original on real images at
    the end; if boxes differ, the folder is named OUT_rejected and the exit status is 1.

    Without --to and without a config, the first argument is a file of structures: best_structure.json of a search, or
    configs/tinynas/*/models/*.json. ``mmdet export STRUCTURE OUT_DIR --help`` explains that.

    Args:
        config: config file, or known name of a model.
        checkpoint: weights; not needed for a composite detector whose config names those of its stages.
        to: form of the networks.
        out: folder to write; default exported/<config>-<to>-<precision>.
        outputs: what a network gives: outputs of the head, decoded boxes before the NMS, or after it (default; composite detectors: candidates).
        size: size that images are resized to; default: that of the test pipeline.
        static: allow this size alone, and one batch size; default: any.
        batch: allow this batch size alone.
        precision: type of the numbers.
        winograd: fewer multiplications in the 3 x 3 convolutions of necks and heads: faster on CPUs in fp32, with larger files.
        symmetric: int8 activations with a zero point of 0, as TensorRT takes them; onnx only.
        calibration: images, or their annotation file, for int8; default: the training data of the config.
        calibration_images: how many of them.
        parity_images: images to compare both detectors on; default: the first 20 of the test data, or drawn scenes.
        ann: annotations (COCO) for AP before and after, with --img; default: the test data of the config.
        img: folder of the images of --ann.
        ap_images: images that AP is measured on at most, 0: none; in fp32 only with --ann.
        opset: version of the ONNX operators.
        random_weights: export without a checkpoint, to measure the speed of a structure.
    """
    from ..apis.exporting import ExportSettings, export_detector
    from ..apis.known_models import named_config
    from ..errors import ConfigError

    if Path(named_config(config)).suffix != '.py':
        message = 'must be a config (.py) or a known name of one; a file of structures is exported without --to'
        raise ConfigError(message, field='CONFIG', received=config)
    settings = ExportSettings(
        to=to, outputs=outputs, size_wh=size, static=static, batch=batch, precision=precision, winograd=winograd, symmetric=symmetric,
        calibration=calibration, calibration_images=calibration_images, parity_images=parity_images, ann_file=ann, image_root=img, ap_images=ap_images, opset=opset,
        random_weights=random_weights,
    )  # fmt: skip
    done = export_detector(
        config, checkpoint, out or f'exported/{Path(config).stem}-{to}-{precision}', settings,
        cfg_options=options.cfg_options, trust_checkpoint=options.trust_checkpoint,
    )  # fmt: skip
    print(done)
    return 0 if done.parity.passed else 1


def export_structure(
    structure: str,
    out_dir: str,
    *,
    index: int = 0,
    checkpoint: Annotated[str | None, Option(metavar='CKPT')] = None,
    task: Literal['classification', 'detection'] | None = None,
    image_size: Annotated[list[int] | None, Option(metavar='N')] = None,
    frames: int | None = None,
    out_indices: Annotated[list[int] | None, Option(metavar='STAGE')] = None,
    num_classes: int | None = None,
    hidden_channels: int | None = None,
    act: str | None = None,
    onnx: bool = False,
    trust_checkpoint: bool = False,
) -> None:
    """Export a searched network, a structure of TinyNAS, as a folder that needs torch alone.

        mmdet export STRUCTURE OUT_DIR [--index 0] [--checkpoint CKPT] [--task classification|detection] [--onnx]

    OUT_DIR gets structure.json, the model's code, demo.py, README.md, weights.pth with --checkpoint, and model.onnx with --onnx
    (page "TinyNAS: Export" of the documentation). Detectors are exported by ``mmdet export CONFIG CKPT --to ...``.

    Args:
        structure: file of structures: best_structure.json of a search, configs/tinynas/*/models/*.json, or a text file of LightNAS.
        out_dir: folder to write.
        index: which structure of the file.
        checkpoint: weights of the backbone, of a classifier, or of a detector with it.
        task: output: scores of classes or maps of stages; default: that of the checkpoint or the structure.
        image_size: side, or height and width, of the example input.
        frames: length of the example clip.
        out_indices: stages whose maps a detection backbone gives.
        num_classes: classes of a classifier without a checkpoint; default: 1000.
        hidden_channels: width of a classifier's hidden layer.
        act: activation of blocks that do not name one.
        onnx: write model.onnx too; needs the extra "onnx".
        trust_checkpoint: allow unpickling arbitrary objects: only for files you trust.
    """
    from ..engine.checkpoint.reading import load_checkpoint_file
    from ..export import EXPORTED_FILES, ExportOptions, export_network
    from ..utils.outputs import refuse_inputs

    refuse_inputs([Path(out_dir, name) for name in EXPORTED_FILES], [structure, checkpoint], field='out_dir')
    weights = load_checkpoint_file(checkpoint, trust=trust_checkpoint)['state_dict'] if checkpoint else None
    options = ExportOptions(
        task=task, image_size=image_size, frames=frames, out_indices=out_indices, num_classes=num_classes,
        hidden_channels=hidden_channels, act=act,
    )  # fmt: skip
    done = export_network(structure, out_dir, index=index, state_dict=weights, options=options, onnx=onnx)
    print(f'{done.folder}: {", ".join(done.files)}')
    if weights is None:
        print('without --checkpoint the weights are random')
    print(f'try: python {done.folder / "demo.py"}')


FORMS = (export, export_structure)


def form_of(words: Sequence[str]) -> Function:
    """Which of the two a command line means: a file of structures has another ending than a config, and is exported without ``--to``."""
    if any(word.partition('=')[0] == '--to' for word in words):
        return export
    named = [Path(word) for word in words if word[:1] != '-']
    if any(path.suffix == '.py' for path in named):
        return export
    structures = any(path.suffix in ('.json', '.txt') for path in named) or any(path.is_file() for path in named[:1])
    return export_structure if structures else export
