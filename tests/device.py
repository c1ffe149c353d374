"""A module of arrays on a device that is not there: numpy's arrays under CuPy's rules.

Nothing is converted to numpy's arrays unless that is asked for, nothing is mixed with them, and whoever
adds up gets an array without dimensions.
"""

from __future__ import annotations

import numpy as np


def _inside(value):
    if isinstance(value, np.ndarray) and value.ndim:
        msg = "Unsupported type <class 'numpy.ndarray'>"
        raise TypeError(msg)
    if isinstance(value, tuple | list):
        return type(value)(_inside(each) for each in value)
    return value.inside if isinstance(value, DeviceArray) else value


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array on the device."""

    def __init__(self, inside):
        self.inside = np.asarray(inside)

    def __array__(self, *_, **__):
        msg = "Implicit conversion to a NumPy array is not allowed."
        raise TypeError(msg)

    def __array_ufunc__(self, ufunc, method, *inputs, **known):
        assert method == "__call__"
        return DeviceArray(ufunc(*map(_inside, inputs), **known))

    def __array_function__(self, function, _, inputs, known):
        return DeviceArray(function(*map(_inside, inputs), **known))

    def __getitem__(self, index):
        return DeviceArray(self.inside[_inside(index)])

    def __float__(self):
        return float(self.inside)

    def __int__(self):
        return int(self.inside)

    @property
    def size(self):
        return self.inside.size

    def astype(self, kind, *, copy=True):
        return DeviceArray(self.inside.astype(kind, copy=copy))

    def sum(self):
        return DeviceArray(self.inside.sum())

    def min(self):
        return DeviceArray(self.inside.min())

    def get(self):
        """Copy to the host."""
        return self.inside.copy()


class Device:
    """The module, which has no more functions than are named here: CuPy 14.2 has them all."""

    FUNCTIONS = ("abs", "argsort", "cumsum", "isfinite", "searchsorted", "sort")

    def __init__(self):
        self.copied = 0

    def asarray(self, values, dtype=None):
        """Copy to the device."""
        self.copied += 1
        return DeviceArray(np.array(values, dtype))

    def __getattr__(self, name):
        if name not in self.FUNCTIONS:
            raise AttributeError(name)
        function = getattr(np, name)
        return lambda *inputs, **known: DeviceArray(function(*map(_inside, inputs), **known))
