"""An option that an empty value leaves as it is, and which of them a command was given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import click
import click.shell_completion
from click.core import ParameterSource

from asrl_mlflow.command_line.command import default_of
from asrl_mlflow.system.uris import hide_address_secrets, hide_secrets
from asrl_mlflow.tracking.shell import stored_command

Function = TypeVar("Function", bound=Callable[..., object])

# Where click's context keeps the options as they were given.
_GIVEN = "asrl.given"
_MOST_TOLD = 60


@dataclass(frozen=True)
class Given:
    """An option whose value is not the built-in default.

    Parameters
    ----------
    text : str
        Its value.
    is_typed : bool
        Whether it stood at the command line, not in the environment or the table.
    """

    text: str
    is_typed: bool


class Unsettable(click.Option):
    """An option for which an empty value means: as if it had not been given.

    MLproject cannot leave an option out of its commands.

    Parameters
    ----------
    longest : int, optional
        How many characters a value may have.
    of_host : bool
        Whether it is about the host rather than about the result: a default that a host sets for itself is no
        part of the command that others reproduce.
    """

    def __init__(
        self,
        *names: Any,  # noqa: ANN401 - click's
        longest: int | None = None,
        of_host: bool = False,
        **settings: Any,  # noqa: ANN401 - click's
    ) -> None:
        super().__init__(*names, **settings)
        self._longest = longest
        self._of_host = of_host

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:  # noqa: ANN401 - click's signature
        """The value in its type; text that no file or store can have as a name is refused."""
        if isinstance(value, str):
            rule = _broken_rule(value, self._longest)
            if rule:
                got = f"{value[:_MOST_TOLD]!r}{'...' if len(value) > _MOST_TOLD else ''}"
                msg = f"it takes {rule}; got {got}."
                raise click.BadParameter(msg, ctx, self)
        return super().type_cast_value(ctx, value)

    def consume_value(
        self, ctx: click.Context, opts: Mapping[str, Any]
    ) -> tuple[Any, click.core.ParameterSource]:
        """The value and its source, as click finds them once an empty one is out of the way."""
        given = {name: value for name, value in opts.items() if value != "" or name != self.name}
        value, source = super().consume_value(ctx, given)
        is_typed = source is ParameterSource.COMMANDLINE
        told = is_typed or (source is ParameterSource.DEFAULT_MAP and not self._of_host)
        if told and str(value) != str(self.default):
            ctx.meta.setdefault(_GIVEN, {})[self.opts[0]] = Given(str(value), is_typed)
        return value, source

    def process_value(self, ctx: click.Context, value: Any) -> Any:  # noqa: ANN401 - click's signature
        """The value as the command gets it; an error says where a default comes from that cannot be read."""
        try:
            return super().process_value(ctx, value)
        except click.BadParameter as error:
            default = default_of(ctx, self.name)
            if default and ctx.get_parameter_source(str(self.name)) is ParameterSource.DEFAULT_MAP:
                error.param_hint = default.origin
            raise

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """What a shell completes its value with; a switch is true or false."""
        if self.type is click.BOOL:
            texts = ("true", "false")
            items = [click.shell_completion.CompletionItem(text) for text in texts]
            return [item for item in items if item.value.startswith(incomplete)]
        return super().shell_complete(ctx, incomplete)

    def get_help_extra(self, ctx: click.Context) -> click.types.OptionHelpExtra:
        """What --help adds: of a default that the environment or the table sets also where it comes from."""
        extra = super().get_help_extra(ctx)
        default = default_of(ctx, self.name)
        if default is not None:
            extra["default"] = f"{hide_address_secrets(default.text)}, from {default.place}"
        return extra


def _broken_rule(text: str, longest: int | None) -> str:
    if "\0" in text:
        return "text without NUL characters"
    try:
        text.encode()
    except UnicodeEncodeError:
        # Bytes of the command line that are no UTF-8.
        return "text in UTF-8"
    if longest is not None and len(text) > longest:
        return f"at most {longest} characters"
    return ""


def option(name: str, **settings: Any) -> Callable[[Function], Function]:  # noqa: ANN401 - click's settings
    """A click option whose empty value means unset and whose default is shown."""
    return click.option(name, cls=Unsettable, **{"show_default": True, **settings})


def command_line() -> str:
    """The command that is running, for a shell: options that differ from their built-in defaults, no secrets."""
    context = click.get_current_context()
    given: dict[str, Given] = context.meta.get(_GIVEN, {})
    # In the order of --help, so that equal commands are equal texts.
    names = [option.opts[0] for option in context.command.params if option.opts[0] in given]
    words = [f"{name}={hide_secrets(given[name].text, given[name].text)}" for name in names]
    return stored_command(str(context.command.name), *words)


def typed_options() -> list[str]:
    """The options of the command that is running that were typed, with another value than the built-in default."""
    given: dict[str, Given] = click.get_current_context().meta.get(_GIVEN, {})
    return [name for name, each in given.items() if each.is_typed]
