"""The methods by name: the rivals, and every loss of this package."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from asrl_mlflow.comparisons.grids.methods.catboost_objectives import CatBoostObjective
from asrl_mlflow.comparisons.grids.methods.filtering import FilterAndRefit
from asrl_mlflow.comparisons.grids.methods.lightgbm_objectives import LightGBMObjective
from asrl_mlflow.comparisons.grids.methods.method import Method
from asrl_mlflow.comparisons.grids.methods.package_losses import PackageLoss
from asrl_mlflow.comparisons.grids.methods.two_stage import RRBoost
from asrl_mlflow.comparisons.grids.methods.variants import Variant
from asrl_mlflow.comparisons.grids.methods.xgboost_objectives import XGBoostObjective
from asrl_mlflow.errors import InputError, did_you_mean
from asrl_mlflow.losses import LOSSES, BaseLoss, from_config, from_name
from asrl_mlflow.losses.regression.scale import AUTO

SQUARED = "xgboost_squared"
# As options, tables and figures name them.
RIVALS: Mapping[str, Method] = MappingProxyType(
    {
        SQUARED: XGBoostObjective("reg:squarederror"),
        "xgboost_absolute": XGBoostObjective("reg:absoluteerror"),
        "xgboost_pseudo_huber": XGBoostObjective("reg:pseudohubererror", "huber_slope"),
        "xgboost_quantile": XGBoostObjective("reg:quantileerror", fixed={"quantile_alpha": 0.5}),
        "rrboost": RRBoost(),
        "filter_refit": FilterAndRefit(),
        "lightgbm_l1": LightGBMObjective("regression_l1"),
        "lightgbm_huber": LightGBMObjective("huber", "alpha"),
        "lightgbm_fair": LightGBMObjective("fair", "fair_c"),
        "catboost_mae": CatBoostObjective("MAE"),
        "catboost_huber": CatBoostObjective("Huber", "delta"),
    }
)
# What squared error is called: the loss that needs no reason.
PLAIN = (SQUARED, "squared_error")


def find_method(name: str) -> Method:
    """The method of a name.

    Parameters
    ----------
    name : str
        Of a rival, or of a loss for targets that are numbers. Behind a loss may stand parameters, each after a
        colon: they stay, and are not searched. Behind all that may stand choices of `Variant`, each after a
        slash.

    Raises
    ------
    InputError
        Nothing has the name, it is a loss for classes, or its library is not installed.

    Examples
    --------
    >>> find_method("xgboost_absolute").objective, find_method("huber").loss
    ('reg:absoluteerror', Huber(delta=1.0))
    >>> find_method("asrl_c:q_low=0.3:q_high=0.6").loss.q_high
    0.6
    >>> find_method("asrl_c/hessian=one").hessian
    'one'
    """
    if name in RIVALS:
        method = RIVALS[name]
        _ = method.library  # raises where it is missing
        return method
    text, *choices = name.split("/")
    loss, is_searched = _loss(text)
    if loss.task != "regression":
        msg = (
            f"A grid needs losses for targets that are numbers; got {name!r}, which is for classes; use "
            "label_noise, or name another."
        )
        raise InputError(msg)
    if choices:
        return Variant.at(loss, choices)
    return PackageLoss(loss, is_searched)


def _loss(text: str) -> tuple[BaseLoss, bool]:
    """A loss from its name and parameters, and whether they are to be searched."""
    name, *pairs = text.split(":")
    try:
        if not pairs:
            return from_name(name), name != AUTO
        given = [pair.partition("=") for pair in pairs]
        params = {key: value if value == AUTO else float(value) for key, _, value in given}
    except InputError as error:
        hint = did_you_mean(name, [*RIVALS, *LOSSES, AUTO])
        msg = (
            f"A grid needs losses or rivals out of {', '.join([*LOSSES, AUTO, *RIVALS])}; got {name!r}; "
            f"{hint or 'name one of them.'}"
        )
        raise InputError(msg) from error
    except ValueError as error:
        msg = f"A loss takes parameters as asrl_c:q_low=0.5:q_high=0.9; got {text!r}."
        raise InputError(msg) from error
    return from_config({"name": name, "params": params}), False
