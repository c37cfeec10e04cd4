"""Run the exported network on a random input.

    python demo.py [--size HEIGHT WIDTH] [--weights FILE] [--runs 10] [--save OUT.pth]

Only torch is needed. The weights are those of FILE, else of weights.pth beside this file, else random.
"""

import argparse
import time
from pathlib import Path

import torch

from mmdet.export.standalone import example_input, load

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, nargs=2, metavar=('HEIGHT', 'WIDTH'), help='size of the input in pixels')
    parser.add_argument('--weights', help='state dict to load')
    parser.add_argument('--runs', type=int, default=10, help='number of timed forward passes')
    parser.add_argument('--save', metavar='OUT', help='write input and outputs there')
    args = parser.parse_args()

    model = load(HERE, args.weights)
    inputs = example_input(HERE, args.size)
    times = []
    with torch.no_grad():
        for _ in range(max(args.runs, 1)):
            start = time.perf_counter()
            outputs = model(inputs)
            times.append(time.perf_counter() - start)
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    frames = inputs.shape[2] if model.dims == 3 else 1
    height, width = inputs.shape[-2:]
    print(f'input {tuple(inputs.shape)}')
    for output in outputs:
        print(f'output {tuple(output.shape)}')
    print(f'parameters {model.num_parameters():,}')
    print(f'FLOPs {model.flops(height, width, frames) / 1e9:.6g} G')
    print(f'best of {len(times)} passes {min(times) * 1e3:.1f} ms, {torch.get_num_threads()} threads')
    if args.save:
        torch.save(dict(inputs=inputs, outputs=outputs), args.save)


if __name__ == '__main__':
    main()
