"""The tools of the check, which it installs into .dev/tools/supply."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TOOLS = REPOSITORY / ".dev/tools/supply"
REQUIREMENTS = Path(__file__).resolve().parent / "requirements.txt"


def run_among_tools(program):
    """Starts a program again with the tools' Python, after installing them where they are not."""
    if Path(sys.prefix).resolve() == TOOLS.resolve():
        return
    python = TOOLS / "bin/python"
    installed = TOOLS / "installed"
    wanted = REQUIREMENTS.read_text()
    if not installed.exists() or installed.read_text() != wanted:
        print(f"installing the packages of {REQUIREMENTS.name} into {TOOLS.relative_to(REPOSITORY)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", TOOLS], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--no-deps", "--require-hashes"]
        subprocess.run([*install, "--requirement", REQUIREMENTS], check=True)
        installed.write_text(wanted)
    os.execv(python, [python, program, *sys.argv[1:]])
