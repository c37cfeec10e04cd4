"""Peak memory and time of detection by tiles on one large image.

    python benchmarks/orthomosaic.py --side 20000 --tile 640

Writes a tiled GeoTIFF of synthetic fields and cars, runs a small GFL with random weights on it through ``DetInferencer``, and prints the time, the
processor's seconds, the peak of the resident memory beside that of the process before, and whether the boxes of the first tiles are those of the same
region cut out. Needs rasterio (the extra ``geo``) for reading without the whole image in memory.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from measuring import Rows
from mmengine.config import Config

from mmdet.apis import DetInferencer
from mmdet.formats.windows import open_tiled, slice_starts
from mmdet.models.detectors.sliced_det import _as_tensor

ROOT = Path(__file__).resolve().parents[1]


def write_image(path: Path, side: int) -> None:
    """A GeoTIFF of blocks of 512 pixels: fields of three colours, a gradient, and a few bright rectangles in each."""
    try:
        import rasterio
    except ImportError:
        raise SystemExit(
            "writing the GeoTIFF needs rasterio; install the extra: pip install 'mmdet-dense[geo]'"
        ) from None
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    rng = np.random.default_rng(0)
    options = dict(
        driver='GTiff', width=side, height=side, count=3, dtype='uint8', tiled=True, blockxsize=512, blockysize=512
    )
    place = dict(crs='EPSG:32633', transform=from_origin(500000, 5500000, 0.05, 0.05))
    with rasterio.open(path, 'w', compress='deflate', zlevel=1, **options, **place) as file:
        for y in range(0, side, 512):
            for x in range(0, side, 512):
                h, w = min(512, side - y), min(512, side - x)
                block = np.empty((3, h, w), np.uint8)
                block[:] = rng.integers(60, 140, (3, 1, 1)) + (np.arange(w) // 8)[None, None]
                for _ in range(4):
                    left, top = rng.integers(0, max(w - 40, 1)), rng.integers(0, max(h - 20, 1))
                    block[:, top : top + 20, left : left + 40] = rng.integers(150, 255, (3, 1, 1))
                file.write(block, window=Window(x, y, w, h))


def small_config(tile: int, score_thr: float, overlap: float) -> Config:
    """GFL with a ResNet of 8 channels, as the stage of a ``SlicedDet``."""
    detector = Config.fromfile(ROOT / 'configs/_base_/models/gfl_small_fpn.py').model
    norm = dict(type='GN', num_groups=4, requires_grad=True)
    detector.backbone.update(base_channels=8, stem_channels=8)
    detector.neck.update(in_channels=[8, 16, 32, 64], out_channels=16)
    detector.bbox_head.update(
        num_classes=2, in_channels=16, feat_channels=16, stacked_convs=1, reg_max=8, norm_cfg=norm
    )
    detector.test_cfg.update(score_thr=score_thr)
    stage = dict(detector=detector, scale=(tile, tile), flip=False, batch_size=8)
    model = dict(type='SlicedDet', stage=stage, tile_wh=(tile, tile), overlap=overlap, max_per_img=-1)
    keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs', meta_keys=keys)]
    dataset = dict(type='CocoDataset', metainfo=dict(classes=('car', 'bus')), pipeline=pipeline)
    return Config(dict(default_scope='mmdet', model=model, test_dataloader=dict(dataset=dataset)))


def peak_mib() -> float:
    """Largest resident memory of the process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--side', type=int, default=20000, help='width and height of the image; default: 20000')
    parser.add_argument('--tile', type=int, default=640, help='side of a tile; default: 640')
    parser.add_argument('--overlap', type=float, default=0.2, help='share of a tile that the next one repeats')
    parser.add_argument('--out', help='JSON lines file to append the rows to')
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'ortho.tif')
        write_image(path, args.side)
        inferencer = DetInferencer(small_config(args.tile, 0.0, args.overlap), device='cpu')
        stage = inferencer.model.stage
        # Random weights find something everywhere: the threshold leaves about ten boxes in the first tile.
        with open_tiled(path) as image:
            first = _as_tensor(image.read_rows(0, args.tile)[:, : args.tile], torch.device('cpu'))
        stage.test_cfg.score_thr = float(stage([first])[0].scores[:10].min())
        before, start, cpu = peak_mib(), time.perf_counter(), time.process_time()
        result = inferencer(str(path), out_dir=folder, no_save_pred=False, no_save_vis=True)['predictions'][0]
        seconds, cpu, peak = time.perf_counter() - start, time.process_time() - cpu, peak_mib()
        boxes = np.array(result['bboxes']).reshape(-1, 4)
        # The region of the first 3 x 3 tiles, cut out: its boxes left of and above the fourth tiles must be those of the image, and the reverse.
        starts = slice_starts(args.side, args.tile, args.overlap)
        size = starts[min(2, len(starts) - 1)] + args.tile
        with open_tiled(path) as image:
            tiles = image.count_tiles((args.tile, args.tile), args.overlap)
            region = _as_tensor(image.read_rows(0, size)[:, :size], torch.device('cpu'))
        with torch.no_grad():
            alone = inferencer.model.detect([region])[0].bboxes.numpy()
        border = starts[3] if len(starts) > 3 else args.side + 1
        of_image, of_region = (found[(found[:, 2:] < border).all(1)] for found in (boxes, alone))
        different = sum(
            not np.isclose(others, box, rtol=0, atol=1e-3).all(1).any()
            for some, others in ((of_image, of_region), (of_region, of_image))
            for box in some
        )
        geojson = Path(folder, 'preds', 'ortho.geojson')
        features = len(json.loads(geojson.read_text())['features']) if geojson.exists() else None
        Rows(args.out).add(
            'orthomosaic', f'{args.side} x {args.side}', tiles=tiles, boxes=len(boxes), features=features, seconds=seconds,
            cpu_seconds=cpu, peak_mib=peak, before_mib=before, file_mib=path.stat().st_size / 2**20,
            boxes_of_region=len(of_region), different=different,
        )  # fmt: skip
    sys.exit(bool(different))


if __name__ == '__main__':
    main()
