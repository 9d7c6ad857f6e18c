"""The command line. Importing it imports no command: each is loaded when it is called."""

from agentrl.cli._group import main
from agentrl.cli._run_file import RunFileCommand

__all__ = ["RunFileCommand", "main"]
