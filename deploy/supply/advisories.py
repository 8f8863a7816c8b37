"""The snapshot of the advisory database, and how it is made and laid out for cargo-deny.

The snapshot is one file: a line with the origin, the revision and the day of the database, and a line for each
advisory about a crate, whether we depend on it today or not. Descriptions are left out; the id leads to them.
"""

import datetime
import json
import re
import subprocess
import tomllib
from pathlib import Path

SNAPSHOT = Path(__file__).resolve().parent / "advisories.jsonl"
# cargo-deny derives the name of a database's folder from its address in deny.toml.
FOLDER = "advisories-3a207d0060f57c09"
FRONT_MATTER = re.compile(r"```toml\n(.*?)```\n+# ([^\n]*)", re.DOTALL)
# Older than this, a snapshot is not good enough for a release.
RELEASE_AGE_DAYS_MAX = 30


def read_snapshot(path=SNAPSHOT):
    """Returns the description of the snapshot and its advisories."""
    first, *others = map(json.loads, path.read_text().splitlines())
    return first, others


def age_days(description, today):
    """Returns how many days old the database was when the snapshot was taken from it."""
    return (today - datetime.date.fromisoformat(description["date"])).days


def release_problems(description, today):
    """Yields a sentence if the snapshot is too old for a release."""
    days = age_days(description, today)
    if days > RELEASE_AGE_DAYS_MAX:
        yield f"the advisories are {days} days old, and a release needs them of the last {RELEASE_AGE_DAYS_MAX} days"


def parse_advisory(text):
    """Returns what a snapshot keeps of an advisory, or None if it has been withdrawn."""
    front_matter, title = FRONT_MATTER.match(text).groups()
    parsed = tomllib.loads(front_matter)
    advisory, versions = parsed["advisory"], parsed.get("versions", {})
    if "withdrawn" in advisory:
        return None
    kept = {"id": advisory["id"], "crate": advisory["package"], "date": str(advisory["date"]), "title": title.strip()}
    if "informational" in advisory:
        kept["informational"] = advisory["informational"]
    for key in ("patched", "unaffected"):
        if versions.get(key):
            kept[key] = versions[key]
    return kept


def take_snapshot(checkout):
    """Writes the snapshot of a checkout of the database."""
    describe = ["git", "-C", checkout, "log", "-1", "--format=%H %cs"]
    revision, date = subprocess.run(describe, check=True, capture_output=True, text=True).stdout.split()
    texts = [path.read_text() for path in sorted(Path(checkout, "crates").rglob("RUSTSEC-*.md"))]
    kept = [advisory for advisory in map(parse_advisory, texts) if advisory]
    if not kept:
        raise SystemExit(f"{checkout} is no checkout of the database")
    kept.sort(key=lambda advisory: (advisory["crate"], advisory["id"]))
    description = {"origin": "rustsec/advisory-db", "revision": revision, "date": date}
    SNAPSHOT.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [description, *kept]))
    print(f"{SNAPSHOT.name}: {len(kept)} advisories of {date}")


def format_advisory(advisory):
    """Returns an advisory in the format of the database."""
    lines = [f"id = {quote(advisory['id'])}", f"package = {quote(advisory['crate'])}", f'date = "{advisory["date"]}"']
    if "informational" in advisory:
        lines.append(f"informational = {quote(advisory['informational'])}")
    versions = [f"{key} = {json.dumps(advisory.get(key, []))}" for key in ("patched", "unaffected")]
    parts = ["```toml", "[advisory]", *lines, "", "[versions]", *versions, "```", "", f"# {advisory['title']}", ""]
    return "\n".join(parts)


def quote(text):
    return json.dumps(text, ensure_ascii=False)


def lay_out(advisories, databases):
    """Writes the advisories where cargo-deny looks for a database that it would have fetched itself."""
    database = databases / FOLDER
    crates = database / "crates"
    crates.mkdir(parents=True, exist_ok=True)
    for file in crates.glob("*.md"):
        file.unlink()
    for advisory in advisories:
        (crates / f"{advisory['id']}.md").write_text(format_advisory(advisory))
    # cargo-deny takes the time of this file for the age of the database; `release_problems` decides about ours.
    (database / ".git").mkdir(exist_ok=True)
    (database / ".git/FETCH_HEAD").touch()
