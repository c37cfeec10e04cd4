# 12 epochs, learning rate 0.01 for the batch of one GPU, gradients clipped. Several GPUs: --auto-scale-lr.
_base_ = './schedule_1x.py'

optim_wrapper = dict(optimizer=dict(lr=0.01), clip_grad=dict(max_norm=10, norm_type=2))
auto_scale_lr = dict(base_batch_size=4)

# --tta: the flip test.
tta_model = dict(type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.6), max_per_img=500))
