"""Every metric that a rule or a dashboard asks for is documented in README.md, or recorded by a rule.

    python3 deploy/observability/metrics.py    fails, naming each that is not
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEYWORDS = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring"}
SERIES_OF_HISTOGRAMS = re.compile(r"_(bucket|count|sum)$")


def documented():
    """The names in the first cells of README.md's tables; `cnpg_*` stands for all that begin so."""
    rows = re.findall(r"^\| `([a-z_]+\*?)`", (HERE / "README.md").read_text(), re.MULTILINE)
    return [re.compile(re.escape(name).replace(r"\*", ".*")) for name in rows]


def names_in(expression):
    """The metrics of a PromQL expression: names that are no function, label, duration or keyword."""
    for ignored in (r'"[^"]*"', r"\{[^}]*\}", r"\[[^\]]*\]",
                    r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)"):
        expression = re.sub(ignored, "", expression)
    found = re.findall(r"(?<![\w.])[a-zA-Z_:][\w:]*(?![\w:]*\s*\()", expression)
    return {name for name in found if name not in KEYWORDS}


def expressions_of_rules(text):
    """What stands after `expr:`, on its line or folded below it."""
    text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    yield from re.findall(r"expr: (?!>-)([^\n]*?)\}?$", text, re.MULTILINE)
    for indent, folded in re.findall(r"^( *)(?:- )?expr: >-\n((?:\1 +.*\n)+)", text, re.MULTILINE):
        yield folded


def main():
    rules = [file.read_text() for file in sorted((HERE / "rules").glob("*.yaml"))]
    expressions = [expression for text in rules for expression in expressions_of_rules(text)]
    for file in sorted((HERE / "dashboards").glob("*.json")):
        panels = json.loads(file.read_text())["panels"]
        expressions += [target["expr"] for panel in panels for target in panel.get("targets", [])]
    recorded = {name for text in rules for name in re.findall(r'record: "?([\w:]+)', text)}
    known = documented()
    asked = {SERIES_OF_HISTOGRAMS.sub("", name) for text in expressions for name in names_in(text)}
    unknown = sorted(
        name for name in asked - recorded if not any(row.fullmatch(name) for row in known)
    )
    for name in unknown:
        print(f"{name} is not documented in deploy/observability/README.md", file=sys.stderr)
    print(f"{len(asked)} metrics asked for, {len(unknown)} not documented")
    sys.exit(1 if unknown or not asked else 0)


main()
