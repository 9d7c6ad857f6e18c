"""Tasks and where they come from."""

from agentrl.tasks._jsonl import JsonlTasks
from agentrl.tasks._lists import ListTasks
from agentrl.tasks._seeded import SeededTasks
from agentrl.tasks._types import Task, TaskSource

__all__ = ["JsonlTasks", "ListTasks", "SeededTasks", "Task", "TaskSource"]
