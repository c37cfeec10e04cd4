_base_ = './faster-rcnn_r50_fpn_1x_coco.py'
# 'AmpOptimWrapper' computes in half precision where that is safe; the loss scale follows the gradients.
optim_wrapper = dict(type='AmpOptimWrapper')
