# The demo's detector with the backbone that `python tools/search.py configs/tinynas/detection/demo_drone.py` finds (docs/tinynas_detector.md).
_base_ = './gfl_demo.py'
model = dict(
    backbone=dict(_delete_=True, type='TinyNASBackbone', structure='work_dirs/demo_drone/best_structure.json'),
    neck=dict(in_channels='auto'),
)
