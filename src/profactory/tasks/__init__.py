"""What a label means: the five tasks, their cells, their arrays and their prediction columns.

The only room that knows label semantics. It needs numpy and nothing heavier, so that checking a
table or listing runs never imports torch.
"""

from profactory.tasks.calibration import Calibration
from profactory.tasks.inference import fit_task, infer_task
from profactory.tasks.task import MINIMISED, Task, TaskKind
from profactory.tasks.transforms import LabelTransform
from profactory.tasks.values import Values

__all__ = [
    "MINIMISED",
    "Calibration",
    "LabelTransform",
    "Task",
    "TaskKind",
    "Values",
    "fit_task",
    "infer_task",
]
