"""Processes of this project, started as users start them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mlflow

ROOT = Path(__file__).parent.parent


def spawn(*options, **settings):
    return subprocess.Popen(
        [sys.executable, "-m", *options],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        **settings,
    )


def env():
    return os.environ | {
        "PYTHONPATH": str(ROOT),
        "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(),
    }
