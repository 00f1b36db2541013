"""Benchmarks: the papers' tables, rebuilt on the user's data by one command.

Every row is a forecaster that goes through the same `fit`, `forecast` and scores. A forecaster that an earlier run left
in the folder is neither trained nor scored again.
"""

from xforecast.benchmark.runs import costs, run
from xforecast.benchmark.table import Table
from xforecast.benchmark.tasks import TASKS, Experiment, Task

__all__ = ["TASKS", "Experiment", "Table", "Task", "costs", "run"]
