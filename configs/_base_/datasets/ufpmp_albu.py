# The augmentation that UFPMP-Det publishes, on 8-bit images before they are normalised. (The original runs it afterwards, where the
# colour transforms clip a normalised image to [0, 1].) border_mode 0: the area outside of the image that a rotation moves into it is black; the
# original's default, 4, mirrors the image there, and with it objects that then have no label.
albu = dict(
    type='Albu',
    transforms=[
        dict(type='ShiftScaleRotate', shift_limit=0.0625, scale_limit=0.1, rotate_limit=45, interpolation=1, border_mode=0, p=0.5),
        dict(type='RandomBrightnessContrast', brightness_limit=[0.1, 0.3], contrast_limit=[0.1, 0.3], p=0.2),
        dict(
            type='OneOf',
            transforms=[
                dict(type='RGBShift', r_shift_limit=10, g_shift_limit=10, b_shift_limit=10, p=1.0),
                dict(type='HueSaturationValue', hue_shift_limit=20, sat_shift_limit=30, val_shift_limit=20, p=1.0),
            ],
            p=0.1,
        ),
        dict(type='ImageCompression', quality_range=(85, 95), p=0.2),
        dict(type='ChannelShuffle', p=0.1),
        dict(
            type='OneOf',
            transforms=[dict(type='Blur', blur_limit=3, p=1.0), dict(type='MedianBlur', blur_limit=3, p=1.0)],
            p=0.1,
        ),
    ],
    bbox_params=dict(
        type='BboxParams',
        format='pascal_voc',
        label_fields=['gt_bboxes_labels', 'gt_ignore_flags'],
        min_visibility=0.0,
        filter_lost_elements=True,
    ),
    keymap=dict(img='image', gt_bboxes='bboxes'),
    update_pad_shape=False,
    skip_img_without_anno=True,
)  # fmt: skip

# The original's own order, for comparisons: on the normalised image, mirrored at the border. Write _base_.albu_original in a pipeline.
albu_original = dict(
    albu,
    transforms=[dict(albu['transforms'][0], border_mode=4), *albu['transforms'][1:]],
    after_normalize=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
)
