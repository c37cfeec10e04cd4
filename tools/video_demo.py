"""Detect objects in a video and write the annotated video.

    python tools/video_demo.py VIDEO CONFIG CHECKPOINT --out annotated.mp4

``tools/image_demo.py`` takes videos too, and writes the boxes of each frame as JSON lines beside the picture.
"""

import argparse
from contextlib import nullcontext
from pathlib import Path

from mmdet.apis import DetInferencer
from mmdet.apis.backends import add_backend_arguments
from mmdet.config.reading import ArgumentParser, add_inference_arguments
from mmdet.utils import reports_user_errors
from mmdet.utils.files import explained, temporary_folder
from mmdet.utils.outputs import refuse_inputs


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('video', help='video file')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint: path, URL or known name')
    parser.add_argument('--out', help='annotated video to write (.mp4)')
    parser.add_argument('--device', help="like 'cpu' or 'cuda:0'; default: the first GPU, or the CPU")
    add_backend_arguments(parser)
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='boxes with a score above this are drawn; default: 0.3'
    )
    parser.add_argument('--batch-size', type=int, default=1, help='frames loaded together; default: 1')
    parser.add_argument('--show', action='store_true', help='show the frames in a window')
    parser.add_argument('--wait-time', type=float, default=0.001, help='seconds between two shown frames')
    parser.add_argument(
        '--trust-checkpoint', action='store_true', help='allow unpickling of arbitrary objects; only for your own files'
    )
    add_inference_arguments(parser, with_options=True)
    args = parser.parse_args()
    if not args.out and not args.show:
        parser.error('give --out or --show')
    if args.out and not args.out.lower().endswith('.mp4'):
        parser.error('--out must end with .mp4')
    return args


@reports_user_errors
def main() -> None:
    args = parse_args()
    refuse_inputs([args.out], [args.video, args.config, args.checkpoint], field='--out')
    inferencer = DetInferencer(
        args.config, args.checkpoint, args.device, trust_checkpoint=args.trust_checkpoint, cfg_options=args.cfg_options,
        backend=args.backend, precision=args.backend_precision,
    )  # fmt: skip
    out = Path(args.out or '')
    # The temporary folder lies beside the target, so that moving the video there is a rename.
    with temporary_folder(out) if args.out else nullcontext('') as folder:
        inferencer(
            args.video, batch_size=args.batch_size, pred_score_thr=args.score_thr, show=args.show, wait_time=args.wait_time,
            out_dir=str(folder),
        )  # fmt: skip
        if args.out:
            with explained(out):
                Path(folder, 'vis', f'{Path(args.video).stem}.mp4').replace(out)
            print(out)


if __name__ == '__main__':
    main()
