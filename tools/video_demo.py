"""Detect objects in videos, and write annotated videos, boxes, tracks and counts.

    python tools/video_demo.py VIDEO CONFIG CHECKPOINT --out annotated.mp4
    python tools/video_demo.py VIDEO CONFIG CHECKPOINT --out out/ --track --line gate=0,0.5,1,0.5

VIDEO is a video file, a folder of frames or of such folders, the number of a camera, an rtsp:// or http:// address, or a pattern in quotes.
With --out FILE.mp4 the annotated video is written, with --out FOLDER what --video, --json, --csv, ... say; by default video and JSON, and of
tracks also a MOT file. Ctrl-C ends it with complete files. The page "Video and tracking" of the documentation says more.
"""

import argparse
import sys

from mmdet.apis import DetInferencer
from mmdet.apis.backends import add_backend_arguments
from mmdet.apis.prediction import config_and_weights
from mmdet.apis.videos import KINDS, detect_in_videos
from mmdet.config.reading import ArgumentParser, add_inference_arguments, add_random_weights
from mmdet.utils import reports_user_errors
from mmdet.utils.outputs import refuse_inputs
from mmdet_runtime.track_arguments import add_track_arguments, read_track_arguments


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('inputs', metavar='VIDEO', help='video, folder of frames, camera, address or pattern')
    parser.add_argument('config', help='config file, name, or checkpoint with its config beside it')
    parser.add_argument(
        'checkpoint', nargs='?', help='checkpoint: path, URL or known name; default: those that CONFIG names'
    )
    add_random_weights(parser)
    parser.add_argument('--out', help='annotated video to write (.mp4), or a folder')
    for kind, text in (
        ('video', 'annotated videos'),
        ('json', 'JSON lines for each video'),
        ('jsonl', 'one file of JSON lines'),
        ('csv', 'one table of boxes'),
        ('pictures', 'each annotated frame'),
    ):
        parser.add_argument(f'--{kind}', action='store_true', help=f'write {text} to the folder')
    parser.add_argument('--device', help="like 'cpu' or 'cuda:0'; default: the first GPU, or the CPU")
    add_backend_arguments(parser)
    parser.add_argument(
        '--score-thr', type=float, help='boxes with a score above this are drawn (0.3); with --track the default of --track-high'
    )  # fmt: skip
    parser.add_argument('--batch-size', type=int, default=1, help='frames that are detected together; default: 1')
    parser.add_argument('--recursive', action='store_true', help='search folders below the folder for frames')
    parser.add_argument('--max-frames', type=int, metavar='N', help='stop after so many frames')
    parser.add_argument(
        '--reconnects', type=int, default=5, metavar='N', help='tries to open a broken stream again (5)'
    )
    add_track_arguments(parser)
    parser.add_argument('--show', action='store_true', help='show the frames in a window')
    parser.add_argument('--wait-time', type=float, default=0.001, help='seconds between two shown frames')
    parser.add_argument(
        '--trust-checkpoint', action='store_true', help='allow unpickling of arbitrary objects; only for your own files'
    )
    add_inference_arguments(parser, with_options=True)
    args = parser.parse_args()
    if not args.out and not args.show:
        parser.error('give --out or --show')
    args.kinds = [kind for kind in KINDS if getattr(args, kind)]
    if args.kinds and (not args.out or args.out.lower().endswith('.mp4')):
        parser.error(f'--{args.kinds[0]} needs a folder for --out')
    return args


@reports_user_errors
def main() -> int:
    args = parse_args()
    refuse_inputs([args.out], [args.inputs, args.config, args.checkpoint], field='--out')
    tracking = read_track_arguments(args, clips=True, high=args.score_thr)
    config, weights = config_and_weights(
        args.config, args.checkpoint, args.cfg_options, trust_checkpoint=args.trust_checkpoint
    )
    inferencer = DetInferencer(
        config, weights, args.device, trust_checkpoint=args.trust_checkpoint, backend=args.backend, precision=args.backend_precision,
        show_progress=False, random_weights=args.random_weights,
    )  # fmt: skip
    report = detect_in_videos(
        inferencer, args.inputs, args.out, kinds=args.kinds or ('video', 'json', *(['mot'] if tracking else [])), tracking=tracking,
        score_thr=0.3 if args.score_thr is None else args.score_thr, batch_size=args.batch_size, show=args.show, wait_time=args.wait_time,
        recursive=args.recursive, max_frames=args.max_frames, reconnects=args.reconnects, fps=args.fps,
    )  # fmt: skip
    print('\n'.join([*report.lines(), *([args.out] if args.out else [])]))
    return report.status


if __name__ == '__main__':
    sys.exit(main())
