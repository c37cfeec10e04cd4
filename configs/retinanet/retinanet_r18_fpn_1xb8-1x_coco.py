_base_ = './retinanet_r18_fpn_1x_coco.py'
# One GPU with eight images, half as many as the schedule is for; the rate of 0.01 is kept, as published.
train_dataloader = dict(batch_size=8)
