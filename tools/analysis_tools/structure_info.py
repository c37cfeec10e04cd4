"""FLOPs, parameters, layers and scores of searched structures.

    python tools/analysis_tools/structure_info.py FILE [--image-size N] [--frames N] [--json OUT]

FILE is our JSON (best_structure.json of a search, configs/tinynas/*/models/*.json) or a text file of LightNAS 1 or 2 or of DAMO-YOLO. No network is
built: all numbers are closed-form (page "TinyNAS: Scores and budgets" of the documentation). Parameters are those without a classifier. FLOPs are
those at --image-size, else at the image size that FILE gives or that a published structure of equal blocks has, else at 224. Scores have the settings of the published search
configs; those that do not apply to a structure are left out.
"""

import argparse
from pathlib import Path

from mmdet.nas import load_structures
from mmdet.nas.report import report_text, structure_report, with_published_facts
from mmdet.utils import ConfigError, reports_user_errors
from mmdet.utils.files import write_json
from mmdet.utils.outputs import refuse_inputs

PUBLISHED = Path(__file__).resolve().parents[2] / 'configs' / 'tinynas'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('file', help='file of structures')
    parser.add_argument('--image-size', type=int, metavar='N', help='side of the square input in pixels')
    parser.add_argument('--frames', type=int, metavar='N', help='frames of the input of video networks')
    parser.add_argument(
        '--json', metavar='OUT', help='write a list of {name, image_size, flops, params, layers, scores} there'
    )
    return parser.parse_args()


@reports_user_errors
def main() -> None:
    args = parse_args()
    for option, value in (('--image-size', args.image_size), ('--frames', args.frames)):
        if value is not None and value < 1:
            raise ConfigError('must be >= 1', field=option, received=value)
    refuse_inputs([args.json], [args.file], field='--json')
    published = [entry for path in sorted(PUBLISHED.glob('*/models/*.json')) for entry in load_structures(path)]
    reports = []
    for entry in load_structures(args.file):
        entry = with_published_facts(entry, published)
        reports.append(structure_report(entry, args.image_size, args.frames))
        print(report_text(entry, reports[-1]))
    if args.json:
        write_json(args.json, reports)


if __name__ == '__main__':
    main()
