"""Commands that work on a run file: `agentrl train run.toml --trainer.lr 2e-6`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click


class RunFileCommand(click.Command):
    """A command whose callback gets `config: RunConfig` and `run_file: Path` beside its own options.

    Every field of the run file is an option of it by its dotted key, and `--help-config` lists them.

    Example:
        >>> @click.command(cls=RunFileCommand)
        ... @click.option("--resume", is_flag=True)
        ... def train(config, run_file, resume): ...
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        # Options this command does not know are fields of the run file; they come in as plain arguments.
        settings.setdefault("context_settings", {})["ignore_unknown_options"] = True
        super().__init__(*args, **settings)
        self.params.insert(0, click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED))
        self.params.append(
            click.Option(
                ["--help-config"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_show_fields,
                help="List the fields of the run file.",
            )
        )

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return the parts of the usage line."""
        return ["RUN_FILE", "[--SECTION.FIELD VALUE]...", "[OPTIONS]"]

    def invoke(self, ctx: click.Context) -> Any:
        """Read the run file, lay the command-line values over it, and run."""
        from agentrl.config import load_run

        run_file, overrides = split_arguments(ctx, ctx.params.pop("arguments"))
        ctx.params["config"] = load_run(run_file, overrides)
        ctx.params["run_file"] = run_file
        return super().invoke(ctx)


def split_arguments(context: click.Context, arguments: Sequence[str]) -> tuple[Path, dict[str, str]]:
    """Return the run file and the overrides by key.

    Raises:
        click.UsageError: There is not exactly one run file, or an option has no value or no meaning.
    """
    files: list[str] = []
    overrides: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-"):
            files.append(argument)
            continue
        if not argument.startswith("--"):
            raise click.NoSuchOption(argument, ctx=context)
        key, equals, value = argument[2:].partition("=")
        _check_known(context, key)
        if not equals:
            following = next(rest, None)
            if following is None or following.startswith("--"):
                raise click.UsageError(f"option --{key} needs a value: --{key} VALUE", context)
            value = following
        overrides[key] = value
    if not files:
        raise click.UsageError(f"no run file given: {context.command_path} RUN_FILE, a .toml", context)
    if len(files) > 1:
        raise click.UsageError(f"expected one run file, got {len(files)}: {' '.join(files)}", context)
    return Path(files[0]), overrides


def _check_known(context: click.Context, key: str) -> None:
    """Refuse a name without a dot that is no field of the run file: a mistyped option of the command."""
    if "." in key:
        return
    from agentrl.config import options

    fields = [option.key for option in options() if "." not in option.key]
    if key in fields:
        return
    own = [name for parameter in context.command.params for name in parameter.opts if name.startswith("--")]
    everything = [*own, *(f"--{option.key}" for option in options())]
    # The right name without its section (--lr for --trainer.lr), else the nearest one.
    near = [name for name in everything if name.endswith(f".{key}")]
    near = near or difflib.get_close_matches(f"--{key}", everything, n=1)
    hint = f"did you mean {' or '.join(near)}?" if near else "--help and --help-config list what there is"
    raise click.UsageError(f"no option --{key}; {hint}", context)


def _show_fields(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        from agentrl.config import options_help

        click.echo(options_help(), nl=False)
        context.exit()
