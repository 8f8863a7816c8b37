"""Renders an overlay."""

import subprocess
import sys

import yaml

from resources import TOOLS


def render(overlay):
    """The objects of an overlay, as they would be applied."""
    rendered = subprocess.run(
        [TOOLS / "bin/kubectl", "kustomize", overlay], capture_output=True, text=True
    )
    if rendered.returncode != 0:
        sys.exit(f"{overlay.name}: {rendered.stderr}")
    return [document for document in yaml.safe_load_all(rendered.stdout) if document]
