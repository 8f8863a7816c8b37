"""Reads from the services' source which settings they have: the fields of their `…Config` structs."""

import re
from dataclasses import dataclass

STRUCT = re.compile(
    r"#\[derive\([^)]*Deserialize[^)]*\)\]\s*(?P<attributes>(?:#\[[^\]]*\]\s*)*)"
    r"(?:pub )?struct (?P<name>\w+) \{(?P<fields>.*?)\n\}",
    re.DOTALL,
)
FIELD = re.compile(
    r"(?P<attributes>(?:#\[[^\]]*\]\s*)*)(?:pub )?(?P<name>[a-z_]\w*): (?P<type>[^,\n]+),"
)
COMMENT = re.compile(r"^\s*//.*$", re.MULTILINE)
# A process that a method declares as a caller.
CALLERS = re.compile(r"(?<=[\[ ])WORKLOAD_\w+(?=[,\]])")


@dataclass(frozen=True)
class Setting:
    """One leaf, such as `DATABASE__APP_URL`."""

    name: str
    required: bool
    # The Rust type, without its `Option`.
    kind: str
    # Whether the type is an `Option`.
    is_optional: bool


def structs_in(files):
    """Returns the structs of settings by name: whether all fields have defaults, and the fields."""
    structs = {}
    for file in files:
        for struct in STRUCT.finditer(COMMENT.sub("", file.read_text())):
            fields = [
                (field["name"], field["type"].split("::")[-1], "serde(default" in field["attributes"])
                for field in FIELD.finditer(struct["fields"])
            ]
            structs[struct["name"]] = ("serde(default" in struct["attributes"], fields)
    return structs


# Texts that are read from the environment as a number, a boolean or a list, whatever the setting's type.
NOT_A_TEXT = re.compile(r"[+-]?\d+|[+-]?(\d+\.\d*|\.\d+)|true|false|\[.*\]", re.DOTALL)
SHAPES = {
    **dict.fromkeys(["u16", "u32", "u64", "usize"], re.compile(r"\d+")),
    "bool": re.compile(r"true|false"),
    "SocketAddr": re.compile(r"[\d.]+:\d+"),
}


def can_be_read_as(value, kind):
    """Whether a value in the environment can be read as a setting's type."""
    if kind in ("String", "SecretString", "PathBuf"):
        return not NOT_A_TEXT.fullmatch(value)
    if kind.startswith("Vec<"):
        return value.startswith("[") and value.endswith("]")
    return kind not in SHAPES or SHAPES[kind].fullmatch(value) is not None


def leaves(structs, name, prefix="", required=True):
    """Yields the settings of a struct, with those of nested structs."""
    has_defaults, fields = structs[name]
    for field, kind, has_default in fields:
        path = prefix + field.upper()
        optional = kind.startswith("Option<") or has_default or has_defaults
        is_optional = kind.startswith("Option<")
        kind = kind.removeprefix("Option<").removesuffix(">")
        if kind in structs:
            yield from leaves(structs, kind, path + "__", required and not optional)
        else:
            yield Setting(path, required and not optional, kind, is_optional)


class Source:
    """The settings and peers of all processes, read from their source."""

    def __init__(self, repository):
        self.repository = repository
        kit = repository / "services/kit/src"
        self.kit = structs_in([kit / "config.rs", kit / "object_store.rs", kit / "store_config.rs"])

    def _structs(self, process):
        folder = "gateway" if process == "gateway" else f"services/{process}"
        return {**self.kit, **structs_in(sorted((self.repository / folder / "src").rglob("*.rs")))}

    def settings(self, process):
        """Every setting of a process, by its name without the process's prefix."""
        structs = self._structs(process)
        parts = ["ProcessConfig", f"{process.capitalize()}Config"]
        if process != "gateway":
            parts.append("ServiceOnlyConfig")
        return {leaf.name: leaf for part in parts for leaf in leaves(structs, part)}

    def agent_settings(self):
        """Every setting of the agent beside a media relay, which is a command of calls."""
        structs = self._structs("calls")
        parts = ["ProcessConfig", "RelayAgentConfig"]
        return {leaf.name: leaf for part in parts for leaf in leaves(structs, part)}

    def peers(self, process):
        """The services that a process calls over gRPC."""
        _, fields = self._structs(process).get("PeerAddressConfig", (False, []))
        return {name for name, _, _ in fields}

    def declared_servers(self, process):
        """The services that declare a method which a process may call, by the options in their `.proto` files."""
        workload = f"WORKLOAD_{process.upper()}"
        files = (self.repository / "proto/talktime").glob("*/v1/*.proto")
        packages = {file.parts[-3] for file in files if workload in CALLERS.findall(file.read_text())}
        # Every service with data of users serves its export, to the process that combines them.
        return packages - {"export"} | (self.peers(process) if "export" in packages else set())
