"""Checks that the objects, labels, commands, settings and log messages that runbooks name exist."""

import re
from functools import cache

from policy import PROCESSES

BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
KINDS = "deployment|statefulset|job|externalsecret|cluster|pod"
# `kind/name`, or `kubectl get kind name`; none where a variable is part of the name.
OBJECT = re.compile(rf"(?:kubectl \w+ ({KINDS}) |\b({KINDS})/)([a-z][a-z0-9-]*)(?![\w$-])")
SELECTOR = re.compile(r"--selector '?([^\s']+)")
SEARCHED = re.compile(r"grep (?:-[a-zA-Z]+ )*'([^'\"]+)'")
SETTING = re.compile(r"`(?:TALKTIME_(?P<process>[A-Z]+)__)?(?P<name>[A-Z0-9]+(?:_[A-Z0-9]+)*__[A-Z0-9_]+)`")
# Made by an operator or by hand, and not by an overlay.
MADE_ELSEWHERE = {("pod", "nats-box"), ("pod", "nats-1"), ("pod", "redis-0")}
LABELS_OF_OPERATORS = {"cnpg.io/cluster"}


@cache
def read_source(repository):
    """All source of the processes, in one piece."""
    folders = [repository / "services", repository / "gateway"]
    return "\n".join(f.read_text() for folder in folders for f in folder.rglob("src/**/*.rs"))


def problems(repository, overlay):
    """Yields a sentence for everything that a runbook names and that does not exist."""
    for page in sorted((repository / "docs/runbooks").glob("*.md")):
        text = page.read_text()
        for block in BLOCK.findall(text):
            yield from (f"{page.name}: {problem}" for problem in command_problems(block, overlay))
            yield from (f"{page.name}: {problem}" for problem in search_problems(block, repository))
        yield from (f"{page.name}: {problem}" for problem in setting_problems(text, overlay.source))


def command_problems(block, overlay):
    """Yields a sentence for each object, label and command in a block that does not exist."""
    existing = {(d["kind"].lower(), d["metadata"]["name"]) for d in overlay.documents}
    for listed, slashed, name in OBJECT.findall(block):
        kind = listed or slashed
        if (kind, name) not in existing | MADE_ELSEWHERE:
            yield f"there is no {kind} {name}"
    objects = [d["metadata"].get("labels", {}) for d in overlay.documents]
    labels = objects + [pod["metadata"]["labels"] for _, pod in overlay.pods()]
    for selector in SELECTOR.findall(block):
        for key, value in re.findall(r"([a-z./-]+)=([a-z-]+)", selector):
            if key not in LABELS_OF_OPERATORS and not any(each.get(key) == value for each in labels):
                yield f"nothing has the label {key}={value}"
    for service, command in re.findall(r"-- talktime-([a-z]+) ([a-z][a-z-]*)", block):
        if not has_command(overlay.repository, service, command):
            yield f"talktime-{service} has no command {command}"


def has_command(repository, service, command):
    """Whether a program or the kit's common commands have a variant of that name."""
    variant = "".join(word.capitalize() for word in command.split("-"))
    sources = [repository / f"services/{service}/src/main.rs", repository / "services/kit/src/cli.rs"]
    return any(re.search(rf"^    {variant}\b[,({{ ]", s.read_text(), re.MULTILINE) for s in sources)


def search_problems(block, repository):
    """Yields a sentence for each message that a block searches in logs and that no process logs."""
    for pattern in SEARCHED.findall(block):
        for words in pattern.split("|"):
            # A message may be folded in the source; this one is logged by Postgres.
            folded = re.escape(words).replace(r"\ ", r"(?: |\s*\\\s+)")
            if words != "password authentication failed" and not re.search(folded, read_source(repository)):
                yield f"no process logs '{words}'"


def setting_problems(text, source):
    """Yields a sentence for each variable that is no setting."""
    for found in SETTING.finditer(text):
        owners = [found["process"].lower()] if found["process"] else PROCESSES
        if not any(found["name"] in source.settings(owner) for owner in owners):
            yield f"{found[0]} is no setting"
