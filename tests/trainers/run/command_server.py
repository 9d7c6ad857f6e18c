"""Runs `agentrl` commands as processes of their own, without importing torch anew for each.

Its argument is a model folder. It reads one JSON request a line, with `argv`, `cwd`, `log`, `file_bytes` and `die`. For
each it forks a process that goes on as the command line would, and answers with its pid, then with its exit code once
it has ended. `file_bytes` bounds the size of any file it writes; `die` is a place in the code at which it kills itself.
"""

from __future__ import annotations

import functools
import gc
import inspect
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

HEAVY = (
    "agentrl_trainers.commands",
    "safetensors.torch",
    "torch._dynamo",
    "transformers.models.qwen3.modeling_qwen3",
    "transformers.models.auto.modeling_auto",
)


def serve() -> list[str]:
    """Answer requests until the input ends. In the forked process, return its arguments instead."""
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            return become(request)
        answer(pid)
        _, status = os.waitpid(pid, 0)
        answer(os.waitstatus_to_exitcode(status))
    return []


def answer(number: int) -> None:
    """Tell the other side a number."""
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def become(request: dict[str, Any]) -> list[str]:
    """Take on the working directory, the output and the limits of a request; return its arguments."""
    os.chdir(request["cwd"])
    for number, (path, flags) in enumerate(
        ((os.devnull, os.O_RDONLY), *[(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)] * 2)
    ):
        descriptor = os.open(path, flags, 0o644)
        os.dup2(descriptor, number)
        os.close(descriptor)
    if request["file_bytes"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_bytes"],) * 2)
    if request["die"]:
        die_at(*request["die"])
    return list(request["argv"])


def die_at(place: str, when: str, call: int) -> None:
    """Let this process be killed "before" or "after" the n-th call, from 1, of `module:function` or of a method."""
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner = functools.reduce(getattr, owners, import_module(module))
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def begin() -> int:
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        return calls

    def end(number: int) -> None:
        if number == call:
            os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(original)
    def plain(*args: Any, **settings: Any) -> Any:
        number = begin()
        result = original(*args, **settings)
        end(number)
        return result

    @functools.wraps(original)
    async def waiting(*args: Any, **settings: Any) -> Any:
        number = begin()
        result = await original(*args, **settings)
        end(number)
        return result

    setattr(owner, name, waiting if inspect.iscoroutinefunction(original) else plain)


if __name__ == "__main__":
    # As the command line does, but before the imports that read it.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for name in HEAVY:
        import_module(name)
    # The first model that a process loads takes longer than all others; this one is for them all.
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(sys.argv[1], local_files_only=True)
    # What was imported is garbage to nobody: forked processes need not look at it, not even when they end.
    gc.freeze()
    arguments = serve()
    if arguments:
        from agentrl.cli import main

        main(arguments, prog_name="agentrl")
