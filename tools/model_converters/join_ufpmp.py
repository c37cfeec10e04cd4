"""Make the checkpoint of UFPMP-Det out of the checkpoints of its two stages.

    python tools/model_converters/join_ufpmp.py work_dirs/coarse_det/epoch_12.pth work_dirs/mp_det_res50/epoch_12.pth ufpmp_det_res50.pth
    python tools/test.py configs/UFPMP-Det/ufpmp_det_res50.py ufpmp_det_res50.pth

Tensors are renamed to coarse.detector.* and fine.detector.*; optimisers and the like are left out.
"""

import argparse

from mmdet.engine.checkpoint.converting import join_checkpoints
from mmdet.utils import reports_user_errors


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('coarse', metavar='COARSE', help='checkpoint of the first stage')
    parser.add_argument('fine', metavar='FINE', help='checkpoint of the second stage')
    parser.add_argument('out', metavar='OUT', help='.pth or .safetensors to write')
    parser.add_argument(
        '--trust-checkpoint', action='store_true', help='allow unpickling arbitrary objects: only for files you trust'
    )
    parser.add_argument(
        '--by-name', action='store_true', help='the stages may have different classes; those of equal names are mapped'
    )
    return parser.parse_args(argv)


@reports_user_errors
def main(argv=None) -> None:
    args = parse_args(argv)
    options = dict(trust_checkpoint=args.trust_checkpoint, by_name=args.by_name)
    print('\n'.join(join_checkpoints(args.coarse, args.fine, args.out, **options)))
    print(f'written: {args.out}')


if __name__ == '__main__':
    main()
