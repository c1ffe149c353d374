"""The catalogue of losses: their names, their configs, and losses that users add.

A loss of this package is added by one import, one entry of `_FOR_NUMBERS` or `_FOR_CLASSES` here, and its name in `__all__`,
which type checkers read and which a test holds to the catalogue. Users add their own by `register`, or by an
entry point of the group `asrl_mlflow.losses`.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import inspect
import math
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from asrl_mlflow.errors import InputError, did_you_mean
from asrl_mlflow.losses.classification.focal import Focal
from asrl_mlflow.losses.classification.generalized_cross_entropy import GeneralizedCrossEntropy
from asrl_mlflow.losses.classification.hinge import SmoothHinge, SquaredHinge
from asrl_mlflow.losses.classification.l_loss import FullL, LLoss
from asrl_mlflow.losses.classification.log_loss import LogLoss, SoftmaxCrossEntropy
from asrl_mlflow.losses.classification.m_loss import FullM, MLoss
from asrl_mlflow.losses.classification.poly1 import Poly1
from asrl_mlflow.losses.loss import BaseLoss, Formulas
from asrl_mlflow.losses.regression.asymmetric.expectile import Expectile
from asrl_mlflow.losses.regression.asymmetric.quantile import Quantile
from asrl_mlflow.losses.regression.redescending.adaptive_barron import AdaptiveBarron
from asrl_mlflow.losses.regression.redescending.barron import Barron, Cauchy, GemanMcClure, Welsch
from asrl_mlflow.losses.regression.redescending.bisquare import Bisquare
from asrl_mlflow.losses.regression.redescending.mm import MM
from asrl_mlflow.losses.regression.scale import AUTO
from asrl_mlflow.losses.regression.segmented.absolute_error import AbsoluteError
from asrl_mlflow.losses.regression.segmented.asrl import ASRL
from asrl_mlflow.losses.regression.segmented.continuous_asrl import ContinuousASRL, auto
from asrl_mlflow.losses.regression.segmented.huber import AdaptiveHuber, Huber
from asrl_mlflow.losses.regression.segmented.smooth_l1 import SmoothL1
from asrl_mlflow.losses.regression.segmented.squared_error import SquaredError
from asrl_mlflow.losses.regression.smooth.charbonnier import Charbonnier
from asrl_mlflow.losses.regression.smooth.fair import Fair
from asrl_mlflow.losses.regression.smooth.log_cosh import LogCosh
from asrl_mlflow.losses.regression.smooth.pseudo_huber import PseudoHuber
from asrl_mlflow.losses.regression.smooth.smae import SMAE

# The face of this room exports these names.
__all__ = [
    "ASRL",
    "BASIC",
    "BASIC_CLASSIFICATION",
    "CLASSIFICATION_LOSSES",
    "ENTRY_POINTS",
    "LOSSES",
    "MM",
    "SMAE",
    "AbsoluteError",
    "AdaptiveBarron",
    "AdaptiveHuber",
    "Barron",
    "Bisquare",
    "Cauchy",
    "Charbonnier",
    "ContinuousASRL",
    "Expectile",
    "Fair",
    "Focal",
    "FullL",
    "FullM",
    "GemanMcClure",
    "GeneralizedCrossEntropy",
    "Huber",
    "LLoss",
    "LogCosh",
    "LogLoss",
    "MLoss",
    "Poly1",
    "PseudoHuber",
    "Quantile",
    "SmoothHinge",
    "SmoothL1",
    "SoftmaxCrossEntropy",
    "SquaredError",
    "SquaredHinge",
    "Welsch",
    "auto",
    "check_names",
    "describe_params",
    "from_config",
    "from_name",
    "import_path",
    "is_built_in",
    "loss_class",
    "markdown_table",
    "register",
    "register_from",
    "to_config",
]

# A loss of this package is one entry in one of these.
_FOR_NUMBERS: tuple[type[BaseLoss], ...] = (
    ASRL,
    ContinuousASRL,
    SquaredError,
    AbsoluteError,
    Huber,
    AdaptiveHuber,
    SmoothL1,
    PseudoHuber,
    Charbonnier,
    LogCosh,
    SMAE,
    Fair,
    Barron,
    Cauchy,
    GemanMcClure,
    Welsch,
    AdaptiveBarron,
    Bisquare,
    MM,
    Quantile,
    Expectile,
)

_FOR_CLASSES: tuple[type[BaseLoss], ...] = (
    LogLoss,
    Poly1,
    Focal,
    GeneralizedCrossEntropy,
    FullM,
    FullL,
    SquaredHinge,
    SmoothHinge,
    SoftmaxCrossEntropy,
    MLoss,
    LLoss,
)

# Those for regression, and those for classification.
LOSSES: Mapping[str, type[BaseLoss]] = MappingProxyType({kind.name: kind for kind in _FOR_NUMBERS})
CLASSIFICATION_LOSSES: Mapping[str, type[BaseLoss]] = MappingProxyType(
    {kind.name: kind for kind in _FOR_CLASSES}
)
_BUILT_IN = {**LOSSES, **CLASSIFICATION_LOSSES}

# The names of those that flows train side by side where nobody names others; those for classification
# serve any number of classes.
BASIC = tuple(kind.name for kind in _FOR_NUMBERS[:6])
BASIC_CLASSIFICATION = tuple(kind.name for kind in _FOR_CLASSES[:6])

# The group of entry points by which an installed distribution offers losses.
ENTRY_POINTS = "asrl_mlflow.losses"

Kind = TypeVar("Kind", bound=type[BaseLoss])

_INFINITE = (math.inf, -math.inf)

_registered: dict[str, type[BaseLoss]] = {}


def register(kind: Kind) -> Kind:
    """Add a loss class to the catalogue of this process; usable as a decorator.

    Flows, `from_config`, figures and the registry then know it by its name. Another process must
    register it too: give the class an entry point of the group `asrl_mlflow.losses`, by which every
    process finds it.

    Parameters
    ----------
    kind : subclass of Loss or ClassificationLoss
        A frozen dataclass with a `name` of its own, whose fields are numbers or "auto". The same class, and one
        that was defined anew in the same module, may be registered again.

    Returns
    -------
    subclass of Loss or ClassificationLoss
        The same class.

    Raises
    ------
    InputError
        It is not as described, or its name is taken by another class.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @register
    ... @dataclass(frozen=True)
    ... class NarrowHuber(Huber):
    ...     name = "narrow_huber"
    ...     delta: float = 0.1
    >>> from_config({"name": "narrow_huber"})
    NarrowHuber(delta=0.1)
    """
    if not (inspect.isclass(kind) and issubclass(kind, BaseLoss)):
        msg = f"losses.register takes a subclass of losses.Loss or losses.ClassificationLoss; got {kind!r}; pass the class itself."
        raise InputError(msg)
    _check_class(kind)
    if inspect.isabstract(kind):
        missing = min(kind.__abstractmethods__)
        msg = (
            f"{kind.__name__} must define {missing}, by which a loss follows the rows; got a class without "
            f"it; define it as losses.{kind.__mro__[1].__name__} says."
        )
        raise InputError(msg)
    defaults = {each.name: each.default for each in dataclasses.fields(kind)}
    _check_numbers(
        kind, {key: each for key, each in defaults.items() if each is not dataclasses.MISSING}
    )
    _registered[kind.name] = kind
    return kind


def loss_class(name: str) -> type[BaseLoss]:
    """The class of a loss: built in, registered, or offered by an entry point.

    Parameters
    ----------
    name : str
        The loss's name. Entry points are read only where no built-in or registered loss has it.

    Raises
    ------
    InputError
        No loss has this name, or its entry point cannot be loaded.

    Examples
    --------
    >>> loss_class("asrl").__name__
    'ASRL'
    """
    known = {**_registered, **_BUILT_IN}
    if name not in known:
        _load_entry_points(name)
        known |= _registered
    if name == AUTO:
        msg = (
            "'auto' is asrl_c with levels that need no tuning, and no class of losses; got it where one is "
            "needed; pass 'asrl_c', or make the loss by losses.auto()."
        )
        raise InputError(msg)
    if name not in known:
        offered = importlib.metadata.entry_points(group=ENTRY_POINTS).names
        names = list(
            dict.fromkeys([*LOSSES, AUTO, *CLASSIFICATION_LOSSES, *_registered, *sorted(offered)])
        )
        remedy = did_you_mean(name, names) or (
            "register a loss of your own by losses.register, or by an entry point of the group "
            f"{ENTRY_POINTS}."
        )
        msg = f"A loss needs one of the names {', '.join(names)}; got {name!r}; {remedy}"
        raise InputError(msg)
    return known[name]


def from_name(name: str) -> BaseLoss:
    """Make the loss of a name, with its default parameters.

    Parameters
    ----------
    name : str
        That of a loss, or "auto" for `auto()`.

    Raises
    ------
    InputError
        No loss has this name, or it has a parameter without a default.

    Examples
    --------
    >>> from_name("huber"), from_name("auto") == auto()
    (Huber(delta=1.0), True)
    """
    return auto() if name == AUTO else from_config({"name": name})


def to_config(loss: BaseLoss) -> dict[str, Any]:
    """Describe a loss by plain JSON types: its name and its parameters.

    Returns
    -------
    dict
        {"name": str, "params": {str: float, str or None}}. Strings are "auto", and "inf" and "-inf", for
        which JSON has no number; None is a parameter that is left out.

    Raises
    ------
    InputError
        The config could not tell the loss from others: its class has no name of its own or a name
        that is taken, is no frozen dataclass, or has a parameter that is not a number.

    Examples
    --------
    >>> to_config(Huber(delta=2.0))
    {'name': 'huber', 'params': {'delta': 2.0}}
    """
    _check_class(type(loss))
    values = {field.name: getattr(loss, field.name) for field in dataclasses.fields(loss)}
    _check_numbers(type(loss), values)
    return {"name": loss.name, "params": {key: _to_json(value) for key, value in values.items()}}


def from_config(config: Mapping[str, Any]) -> BaseLoss:
    """Make the loss that `to_config` described; parameters left out keep their defaults.

    Parameters
    ----------
    config : mapping
        {"name": str, "params": {str: number}}; "params" may be left out.

    Raises
    ------
    InputError
        Another form, an unknown name or parameter, a missing parameter without a default, or a
        parameter outside its interval.

    Examples
    --------
    >>> from_config({"name": "asrl_c", "params": {"q_low": 0.7}})
    ContinuousASRL(q_low=0.7, q_high=0.9, tail=1.0, floor=0.0)
    """
    form = '{"name": ..., "params": {...}}'
    if not isinstance(config, Mapping) or not set(config) <= {"name", "params"}:
        msg = f"A loss's config has the form {form}; got {config!r}."
        raise InputError(msg)
    name, params = str(config.get("name")), config.get("params", {})
    if not isinstance(params, Mapping):
        msg = f"A loss's config has the form {form}; got params={params!r}."
        raise InputError(msg)
    check_names(name, params)
    kind = loss_class(name)
    missing = [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.name not in params
    ]
    if missing:
        msg = f"{kind.__name__} takes {_takes(kind)}; got no {missing[0]}, which has no default; give it one."
        raise InputError(msg)
    return kind(**{key: _from_json(value) for key, value in params.items()})


def check_names(name: str, params: Iterable[str]) -> None:
    """Check that a loss has parameters of these names, whatever their values.

    Raises
    ------
    InputError
        An unknown loss, or a parameter that it does not have.

    Examples
    --------
    >>> check_names("huber", ["delta"])
    """
    kind = loss_class(name)
    known = [field.name for field in dataclasses.fields(kind)]
    for key in params:
        if key not in known:
            hint = did_you_mean(key, known)
            msg = f"{kind.__name__} takes {_takes(kind)}; got {key!r}{f'; {hint}' if hint else '.'}"
            raise InputError(msg)


def _takes(kind: type[BaseLoss]) -> str:
    return ", ".join(field.name for field in dataclasses.fields(kind)) or "no parameters"


def describe_params(params: Mapping[str, float | str | None], digits: int) -> list[str]:
    """Describe parameters for people, numbers with so many digits; without those that are left out.

    Examples
    --------
    >>> describe_params({"q_low": 0.6666, "scale": "auto"}, 2)
    ['q_low=0.67', 'scale=auto']
    """
    return [
        f"{name}={value if isinstance(value, str) else format(value, f'.{digits}g')}"
        for name, value in params.items()
        if value is not None
    ]


def import_path(kind: type[BaseLoss]) -> str:
    """The path by which another process imports a loss class, as `register_from` takes it.

    Raises
    ------
    InputError
        Only this process can know the class: it is defined in the script itself, in a notebook, or
        inside a function.

    Examples
    --------
    >>> import_path(Huber)
    'asrl_mlflow.losses.regression.segmented.huber:Huber'
    """
    if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
        place = "a function" if "<locals>" in kind.__qualname__ else "the script or notebook itself"
        msg = (
            f"{kind.__name__} must be found by worker processes, which import it; got a class that is "
            f"defined in {place}; move it into a module of its own and import it from there, or give "
            f"it an entry point of the group {ENTRY_POINTS}."
        )
        raise InputError(msg)
    return f"{kind.__module__}:{kind.__qualname__}"


def register_from(path: str) -> None:
    """Import a loss class by the path that `import_path` gave, and register it here.

    Raises
    ------
    InputError
        It cannot be imported or registered.

    Examples
    --------
    >>> register_from("asrl_mlflow.losses.regression.segmented.huber:Huber")
    """
    try:
        kind = pkgutil.resolve_name(path)
    except Exception as error:
        msg = (
            f"The loss class {path} must be importable; got {type(error).__name__}: {error}; mend its "
            "module, or uninstall the distribution that offers it."
        )
        raise InputError(msg) from error
    if not is_built_in(kind):
        register(kind)


def is_built_in(kind: type[BaseLoss]) -> bool:
    """Check whether a loss class is one of this package, which every process knows.

    Examples
    --------
    >>> is_built_in(Huber)
    True
    """
    return kind in _BUILT_IN.values()


def markdown_table(names: Sequence[str] = tuple(LOSSES)) -> str:
    """Describe built-in losses in the rows of a Markdown table, a loss a row.

    Parameters
    ----------
    names : sequence of str
        Of the losses; all by default.

    Returns
    -------
    str
        Head and rows: name, class with its parameters and defaults, formulas of core, middle and
        tail, and where the thresholds come from. Lines end with a newline, but for the last.

    Examples
    --------
    >>> print(markdown_table().splitlines()[4])
    | `squared_error` | `SquaredError()` | r²/2 | | | |
    """
    head = ("name", "class", "core", "middle", "tail", "thresholds")
    rows = [
        (f"`{name}`", f"`{_call(_BUILT_IN[name])}`", *_formulas(_BUILT_IN[name].FORMULAS))
        for name in names
    ]
    return "\n".join((_row(head), "|---" * len(head) + "|", *map(_row, rows)))


def _formulas(formulas: Formulas) -> Iterator[str]:
    """The cells of core, middle, tail and thresholds."""
    everywhere = formulas.everywhere and f"everywhere {formulas.everywhere}"
    for cell in (formulas.core or everywhere, *formulas[1:4]):
        yield cell.replace("|", r"\|")


def _row(cells: Sequence[str]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def _call(kind: type[BaseLoss]) -> str:
    """A loss with its defaults as a user writes them: 1e-6, not 1e-06."""
    return repr(kind()).replace("e-0", "e-")


def _load_entry_points(name: str) -> None:
    """Register what installed distributions offer under a loss's name."""
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS, name=name):
        register_from(entry.value)
        if name not in _registered:
            msg = (
                f"The entry point {name} = {entry.value} needs the name of its loss; got a class of "
                "another name; let both be the same."
            )
            raise InputError(msg)


def _check_class(kind: type[BaseLoss]) -> None:
    """Refuse a class that records could not tell from others by its name and parameters."""
    name = vars(kind).get("name")
    if not isinstance(name, str):
        msg = (
            f"{kind.__name__} needs a name of its own, by which models record it; got none in its "
            f'class; add name: ClassVar[str] = "{kind.__name__.lower()}".'
        )
        raise InputError(msg)
    other = _BUILT_IN.get(name) or _registered.get(name) or kind
    if other is not kind and _place(other) != _place(kind):
        msg = (
            f"{kind.__name__} needs a name of its own, by which models record it; got {name!r}, "
            f"which is {other.__name__}'s; choose another."
        )
        raise InputError(msg)
    if _has_own_init(kind):
        msg = (
            f"{kind.__name__} must be a frozen dataclass, whose fields are its parameters; got an "
            "__init__ of its own; put @dataclass(frozen=True) above the class and declare fields."
        )
        raise InputError(msg)


def _place(kind: type[BaseLoss]) -> tuple[str, str]:
    """Where a class is defined: the same for one that a notebook's cell defines again."""
    return kind.__module__, kind.__qualname__


def _has_own_init(kind: type[BaseLoss]) -> bool:
    """Check whether a class has parameters that are not fields of a frozen dataclass."""
    owner = next(each for each in kind.__mro__ if "__init__" in vars(each))
    params = vars(owner).get("__dataclass_params__")
    return params is None or not params.frozen


def _to_json(value: float | str | None) -> float | str | None:
    """A parameter as strict JSON knows it."""
    number = value if value is None or isinstance(value, str) else float(value)
    return str(number) if number in _INFINITE else number


def _from_json(value: Any) -> Any:  # noqa: ANN401 - the loss judges what is no number
    """A parameter from what `_to_json` made of it."""
    return float(value) if isinstance(value, str) and value in map(str, _INFINITE) else value


def _check_numbers(kind: type[BaseLoss], values: Mapping[str, object]) -> None:
    """Refuse parameters that are not numbers, "auto", or None for one that is left out."""
    for key, value in values.items():
        if value is None or (isinstance(value, str) and value == AUTO):
            continue
        if isinstance(value, bool) or not isinstance(value, int | float | np.number):
            msg = (
                f"{kind.__name__} takes numbers, which configs and tuning can hold; got "
                f"{key}={value!r}; make it a number, or a loss of its own."
            )
            raise InputError(msg)
