"""Checks that code, documentation, rules, dashboards and tests use the same metrics.

    python3 deploy/observability/metrics.py    fails, and names each metric that is missing in one of them

Every metric that a rule, a dashboard or a page uses is in README.md or recorded by a rule. README.md lists exactly the
metrics that the source emits. Every alert is tested, and Alertmanager knows no other names.
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
KEYWORDS = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring"}
SERIES_OF_HISTOGRAMS = re.compile(r"_(bucket|count|sum)$")
# A name by a literal or by a constant of the same file.
EMITTED = re.compile(r'metrics::(?:counter|gauge|histogram)!\(\s*(?:"([a-z_]+)"|([A-Z_]+))')
CONSTANT = re.compile(r'const ([A-Z_]+): &str = "([a-z_]+)";')
# Metrics of the operating system that a crate serves, and metrics of the cluster that pages name.
OF_THE_SYSTEM = "process_*"
NOT_OURS = "container_"
# Pages that name columns of tables, some of which read like metrics.
PAGES_OF_COLUMNS = {"privacy.md"}


def rows(section):
    """Returns the names in the first cells of a section's tables; `cnpg_*` stands for all names with this prefix."""
    return re.findall(r"^\| `([a-z_]+\*?)`", section, re.MULTILINE)


def documented_metrics():
    """The names in README.md: ours, and those of others."""
    ours, _, others = (HERE / "README.md").read_text().partition("metrics of other software:")
    return set(rows(ours)), set(rows(others))


def emitted_metrics():
    """The names in the source of the processes."""
    names = set()
    for folder in ("services", "gateway"):
        for file in (REPOSITORY / folder).rglob("src/**/*.rs"):
            source = file.read_text()
            constants = dict(CONSTANT.findall(source))
            names |= {literal or constants[name] for literal, name in EMITTED.findall(source)}
    return names


def names_in(expression):
    """The metrics of a PromQL expression: names that are no function, label, duration or keyword."""
    for ignored in (r'"[^"]*"', r"\{[^}]*\}", r"\[[^\]]*\]", r"\boffset \w+",
                    r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)"):
        expression = re.sub(ignored, "", expression)
    found = re.findall(r"(?<![\w.])[a-zA-Z_:][\w:]*(?![\w:]*\s*\()", expression)
    return {name for name in found if name not in KEYWORDS}


def expressions_of_rules(text):
    """The text after `expr:`, on its line or folded below it."""
    text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    yield from re.findall(r"expr: (?!>-)([^\n]*?)\}?$", text, re.MULTILINE)
    for indent, folded in re.findall(r"^( *)(?:- )?expr: >-\n((?:\1 +.*\n)+)", text, re.MULTILINE):
        yield folded


def used_metrics(rules):
    """The metrics that rules, dashboards and pages use."""
    expressions = [expression for text in rules for expression in expressions_of_rules(text)]
    for file in sorted((HERE / "dashboards").glob("*.json")):
        panels = json.loads(file.read_text())["panels"]
        expressions += [target["expr"] for panel in panels for target in panel.get("targets", [])]
    names = {name for expression in expressions for name in names_in(expression)}
    for page in (REPOSITORY / "docs").rglob("*.md"):
        if page.name in PAGES_OF_COLUMNS:
            continue
        found = re.findall(r"\b[a-z]+(?:_[a-z]+)*_(?:total|seconds_(?:bucket|count|sum))\b", page.read_text())
        names |= {name for name in found if not name.startswith(NOT_OURS)}
    return {SERIES_OF_HISTOGRAMS.sub("", name) for name in names}


def problems(rules, used):
    """Yields a sentence for each inconsistency."""
    ours, others = documented_metrics()
    recorded = {name for text in rules for name in re.findall(r'record: "?([\w:]+)', text)}
    known = [re.compile(re.escape(name).replace(r"\*", ".*")) for name in ours | others]
    for name in sorted(used - recorded):
        if not any(row.fullmatch(name) for row in known):
            yield f"{name} is used and not documented in deploy/observability/README.md"
    served = emitted_metrics() | {OF_THE_SYSTEM}
    yield from (f"{name} is emitted and not documented" for name in sorted(served - ours))
    yield from (f"{name} is documented and not emitted" for name in sorted(ours - served))
    tests = "".join(file.read_text() for file in (HERE / "tests").glob("*.yaml"))
    for alert in sorted({name for text in rules for name in re.findall(r"alert: (\w+)", text)}):
        is_tested = re.search(rf"alertname: {alert}\n\s+exp_alerts:\n", tests)
        if not is_tested:
            yield f"no test lets {alert} fire"


def unknown_alerts(rules):
    """Names in the configuration of Alertmanager that are no alert: a misspelt one would route or inhibit nothing."""
    alerts = {name for text in rules for name in re.findall(r"alert: (\w+)", text)}
    config = (HERE / "alertmanager/alertmanager.yaml").read_text()
    for names in re.findall(r'alertname =~? "?([\w|.*]+)', config):
        for name in names.split("|"):
            if not any(re.fullmatch(name, alert) for alert in alerts):
                yield f"Alertmanager knows an alert {name}, which no rule raises"


def main():
    rules = [file.read_text() for file in sorted((HERE / "rules").glob("*.yaml"))]
    used = used_metrics(rules)
    found = [*problems(rules, used), *unknown_alerts(rules)]
    for problem in found:
        print(problem, file=sys.stderr)
    print(f"{len(used)} metrics used, {len(emitted_metrics())} emitted, {len(found)} problems")
    sys.exit(1 if found or not used else 0)


main()
