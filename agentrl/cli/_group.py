"""The command `agentrl`: finds its subcommands by name and loads the one that is called."""

from __future__ import annotations

import difflib
import os
from importlib import metadata
from typing import Any

import click

from agentrl.cli._catalog import debugging, entries, load
from agentrl.cli._failure import failure_of

DEBUG_KEY = "agentrl.debug"


def _ask_for_tracebacks(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.meta[DEBUG_KEY] = True


def _debug_option() -> click.Option:
    # After the subcommand too: that is where people add it, at the end of the line that just failed.
    return click.Option(
        ["--debug"], is_flag=True, expose_value=False, callback=_ask_for_tracebacks, help="Show tracebacks of errors."
    )


def _show_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"agentrl {metadata.version('agentrl')}")
        context.exit()


class LazyGroup(click.Group):
    """A group whose commands are imported when called, and whose failures are one message and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(entries())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command by name."""
        entry = entries().get(cmd_name)
        if entry is None:
            return None
        command = load(entry)
        if not any("--debug" in parameter.opts for parameter in command.params):
            command.params.append(_debug_option())
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command to run, or say which one was probably meant."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in entries():
            near = difflib.get_close_matches(name, entries(), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(entries())}"
            raise click.UsageError(f"no command {name!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from their one-line texts, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(entry.name, entry.text) for entry in entries().values()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a foreseen failure becomes one message."""
        # Read by transformers at import: bars for loading a file of some megabytes would break the panel.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        # Read by torch at import: threads that spin while they wait steal the core from whoever they wait for, the
        # engine from the trainer and the other way round. On busy cores that costs a factor of ten.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except (Exception, KeyboardInterrupt) as error:
            failure = failure_of(error, debug=debugging() or ctx.meta.get(DEBUG_KEY, False))
            if failure is None:
                raise
            raise failure from error


main = LazyGroup(
    name="agentrl",
    help="Train language-model agents that act over many turns, and evaluate them.",
    epilog="agentrl COMMAND --help explains a command.",
    context_settings={"help_option_names": ["-h", "--help"]},
    params=[
        _debug_option(),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_version,
            help="Show the version.",
        ),
    ],
)
"""The console command `agentrl`."""
