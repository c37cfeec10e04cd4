# Localization distillation (LD) of the demo's detector into a quarter of it. Train the teacher first:
#   python tools/train.py configs/demo/gfl_demo.py --work-dir work_dirs/gfl_demo
_base_ = './gfl_student_demo.py'
model = dict(
    type='KnowledgeDistillationSingleStageDetector',
    teacher_config='configs/demo/gfl_demo.py',
    teacher_ckpt='work_dirs/gfl_demo/latest.pth',
    bbox_head=dict(type='LDHead', loss_ld=dict(type='KnowledgeDistillationKLDivLoss', loss_weight=0.25, T=10)),
)
