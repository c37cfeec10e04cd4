"""COCO results <-> result files of the VisDrone toolkit.

    python UFPMP-Det-Tools/eval_script/coco2VisDrone.py VisDrone2019-DET-val.json results.bbox.json pred_txt/
    python UFPMP-Det-Tools/eval_script/coco2VisDrone.py VisDrone2019-DET-val.json pred_txt/ results.bbox.json

A file as SOURCE (COCO results, or a dump of tools/test.py --out) becomes a folder with one .txt an image:
left,top,width,height,score,category,-1,-1 by descending score, empty where nothing was detected. A folder as SOURCE, its
files separated by commas or blanks, becomes COCO results.
"""

import argparse
from pathlib import Path

from mmdet.config.reading import reports_user_errors
from mmdet.datasets.converters import results_to_txt, txt_to_results


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('ann_file', metavar='ANN', help='COCO annotation file: names and ids')
    parser.add_argument('source', metavar='SOURCE', help='results file, or folder of .txt files')
    parser.add_argument('output', metavar='OUTPUT', help='folder of .txt files, or JSON file, to write')
    return parser.parse_args(argv)


@reports_user_errors
def main(argv=None) -> None:
    args = parse_args(argv)
    convert = txt_to_results if Path(args.source).is_dir() else results_to_txt
    print(convert(args.ann_file, args.source, args.output))


if __name__ == '__main__':
    main()
