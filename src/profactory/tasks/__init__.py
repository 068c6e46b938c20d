"""What a label means: the kinds of task, their cells, their arrays and their prediction columns.

The only room that knows label semantics. It needs numpy and nothing heavier, so that checking a
table or listing runs never imports torch.
"""

from profactory.tasks.calibration import Calibration
from profactory.tasks.inference import collect_names, infer_task, name_separator, task_of_names
from profactory.tasks.kinds import Answer, TaskKind
from profactory.tasks.task import MINIMISED, Task
from profactory.tasks.transforms import LabelTransform
from profactory.tasks.values import Values

__all__ = [
    "MINIMISED",
    "Answer",
    "Calibration",
    "LabelTransform",
    "Task",
    "TaskKind",
    "Values",
    "collect_names",
    "infer_task",
    "name_separator",
    "task_of_names",
]
