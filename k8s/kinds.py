"""Helpers that read objects of Kubernetes."""


def matches(selector, labels):
    """Whether a label selector selects these labels."""
    for expression in (selector or {}).get("matchExpressions", []):
        assert expression["operator"] == "In", "no policy here needs another operator"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return (selector or {}).get("matchLabels", {}).items() <= labels.items()


def ports_of(container):
    """The ports of a container, by name and by number."""
    ports = container.get("ports", [])
    return {port["name"] for port in ports if "name" in port} | {port["containerPort"] for port in ports}
