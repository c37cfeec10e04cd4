# What detectors of the library transformers share. The file of a model adds model.model: the library's own config, that is model_type and what differs
# from its defaults. In place of it, model.from_pretrained names a folder; docs/transformers.md.
model = dict(
    type='TransformersDetector',
    # Values from 0 to 1: these models take no mean away.
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[0.0] * 3, std=[255.0] * 3, bgr_to_rgb=True, pad_size_divisor=32
    ),
    num_classes=80,
    # No suppression: one query, one object. nms is for several views of an image: flips, tiles, two stages.
    test_cfg=dict(score_thr=0.0, max_per_img=300, nms=dict(type='nms', iou_threshold=0.7)),
)
