"""Score tracks: MOTA, IDF1, HOTA, identity switches and more.

    python tools/analysis_tools/eval_tracking.py VisDrone2019-MOT-val out/mot --json scores.json
    python tools/analysis_tools/eval_tracking.py UAV-benchmark-MOTD_v1.0/GT out/mot

TRUTH is a folder of VisDrone-MOT or -VID (annotations/*.txt), of UAVDT (*_gt.txt, *_gt_ignore.txt; with --format uavdt-whole
*_gt_whole.txt, which has classes), of the MOT challenge (<sequence>/gt/gt.txt) or one such file. RESULTS holds <sequence>.txt with
rows frame,id,left,top,width,height,score,category,-1,-1, as --mot of the video command writes them; for one file, a file. The category is the
class from 1, as the ground truth counts, or as classes.json beside the results, a list of names, says (--mot-classes writes it).
"""

import argparse
import sys
from pathlib import Path

from mmdet.config.reading import reports_user_errors
from mmdet.errors import DataError
from mmdet.evaluation.tracking import evaluate_tracks, score_notes, score_table
from mmdet.formats.json_file import read_json
from mmdet.formats.tracks import (
    FORMATS,
    VISDRONE_MOT_CLASSES,
    read_track_results,
    read_track_truth,
    recognise,
    relabelled,
    write_tracks,
)
from mmdet.formats.visdrone import text_files
from mmdet.utils.files import write_json
from mmdet.utils.outputs import refuse_inputs
from mmdet.utils.progress import progress


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('truth', metavar='TRUTH', type=Path, help='folder or file of the ground truth')
    parser.add_argument('results', metavar='RESULTS', type=Path, nargs='?', help='folder or file of the tracks')
    parser.add_argument('--format', choices=FORMATS, help='of the ground truth; default: recognised')
    parser.add_argument(
        '--classes',
        help="scored classes, separated by commas; default: of VisDrone its challenge's five, otherwise all",
    )
    parser.add_argument('--agnostic', action='store_true', help='take all scored classes as one')
    parser.add_argument('--iou-thr', type=float, default=0.5, help='IoU from which a box is on an object (0.5)')
    parser.add_argument('--json', metavar='OUT', help='write all figures, shares in 0..1, to this file')
    parser.add_argument(
        '--write-truth', metavar='DIR', type=Path, help='write the objects as MOT files, DIR/<sequence>.txt'
    )
    args = parser.parse_args(argv)
    if args.results is None and args.write_truth is None:
        parser.error('give RESULTS or --write-truth')
    return args


def read_names(path: Path) -> list[str]:
    """Names of classes; DataError where the file is no list of names."""
    names = read_json(path, top=list)
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        raise DataError('must be a list of names', file=path)
    return names


@reports_user_errors
def main(argv=None) -> None:
    args = parse_args(argv)
    kind = args.format or recognise(args.truth)
    truths = read_track_truth(args.truth, kind)
    sources = [truth.source for truth in truths]
    if args.write_truth is not None:
        targets = [args.write_truth / f'{truth.name}.txt' for truth in truths]
        refuse_inputs(targets, sources, field='--write-truth')
        for target, truth in zip(targets, truths):
            write_tracks(target, truth.tracks)
        print(f'{len(targets)} files in {args.write_truth}')
    if args.results is None:
        return
    files = (
        {truths[0].name: args.results}
        if len(truths) == 1 and args.results.is_file()
        else text_files(args.results, 'result')
    )
    refuse_inputs([args.json], [*sources, *files.values()], field='--json')
    names = {truth.name for truth in truths}
    if not names & set(files):
        raise DataError(f'holds no result of the sequences {sorted(names)}', file=args.results)
    classes = args.classes.split(',') if args.classes else VISDRONE_MOT_CLASSES if kind == 'visdrone' else None
    results = {name: read_track_results(files[name]) for name in progress(sorted(names & set(files)), 'results')}
    own_names = next(iter(files.values())).with_name('classes.json')
    if own_names.is_file() and truths[0].classes:
        own = read_names(own_names)
        results = {name: relabelled(tracks, own, truths[0].classes) for name, tracks in results.items()}
    scores = evaluate_tracks(truths, results, classes=classes, iou_thr=args.iou_thr, agnostic=args.agnostic)
    print(score_table(scores))
    for note in score_notes(scores):
        print(f'note: {note}', file=sys.stderr)
    if args.json:
        write_json(args.json, vars(scores))


if __name__ == '__main__':
    main()
