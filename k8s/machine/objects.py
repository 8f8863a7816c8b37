"""What the objects of an overlay say about one container: its command, environment and files."""

import re

REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
TEMPLATE = re.compile(r"\{\{ \.(\w+) \}\}")


class RenderedObjects:
    """The objects of an overlay, with a value for each key of its Secrets."""

    def __init__(self, documents, secrets):
        self.documents = documents
        self.secrets = secrets
        self.configs = {d["metadata"]["name"]: d.get("data", {}) for d in documents if d["kind"] == "ConfigMap"}

    def of(self, *kinds):
        return [document for document in self.documents if document["kind"] in kinds]

    def environment(self, container, fields):
        """The variables of a container; `fields` are those that depend on its pod, such as `metadata.name`."""
        variables = {}
        for source in container.get("envFrom", []):
            if "configMapRef" in source:
                values = self.configs[source["configMapRef"]["name"]]
            else:
                values = self.secrets[source["secretRef"]["name"]]
            variables.update({source.get("prefix", "") + name: value for name, value in values.items()})
        for variable in container.get("env", []):
            variables[variable["name"]] = self._value(variable, fields, variables)
        return variables

    def _value(self, variable, fields, variables):
        if "valueFrom" not in variable:
            return expand_references(variable.get("value", ""), variables)
        source = variable["valueFrom"]
        if "fieldRef" in source:
            return fields[source["fieldRef"]["fieldPath"]]
        key = source["secretKeyRef"]
        return self.secrets[key["name"]][key["key"]]

    def files(self, volume):
        """The files of a volume by their names, and their mode; None for a folder that is empty at first."""
        if "configMap" in volume:
            source, values = volume["configMap"], self.configs[volume["configMap"]["name"]]
        elif "secret" in volume:
            source, values = volume["secret"], self.secrets[volume["secret"]["secretName"]]
        else:
            return None
        if "items" in source:
            values = {item["path"]: values[item["key"]] for item in source["items"]}
        return values, source.get("defaultMode", 0o644)


def command_of(container, variables):
    words = container.get("command", []) + container.get("args", [])
    return [expand_references(word, variables) for word in words]


def expand_references(text, variables):
    """Replaces `$(NAME)` where there is such a variable, as Kubernetes does."""
    return REFERENCE.sub(lambda found: variables.get(found[1], found[0]), text)


def fill_external_secrets(documents, stored):
    """The Secrets that an operator would make with what the secret store holds, by their names."""
    secrets = {}
    for document in documents:
        if document["kind"] == "ExternalSecret":
            secrets[document["metadata"]["name"]] = _from_store(document["spec"], stored)
    return secrets


def _from_store(spec, stored):
    values = {}
    for source in spec.get("dataFrom", []):
        values.update(stored[source["extract"]["key"]])
    for entry in spec.get("data", []):
        values[entry["secretKey"]] = stored[entry["remoteRef"]["key"]][entry["remoteRef"]["property"]]
    template = spec.get("target", {}).get("template", {}).get("data")
    if not template:
        return values
    return {name: TEMPLATE.sub(lambda found: values[found[1]], text) for name, text in template.items()}
