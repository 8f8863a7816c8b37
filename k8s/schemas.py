"""Validates objects against the schemas of Kubernetes and of the operators."""

import jsonschema
import kubernetes_validate

import resources

KUBERNETES = "1.37"


def invalid(document):
    """Yields the errors of an object, unknown fields included."""
    if document["apiVersion"].partition("/")[0] in resources.CRATES:
        return of_operator(document)
    return of_kubernetes(document)


def of_kubernetes(document):
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        yield "there is no schema for it"
    except kubernetes_validate.ValidationError as error:
        yield sentence(error)


def of_operator(document):
    schema = resources.schema(document["apiVersion"], document["kind"])
    if schema is None:
        yield "there is no schema for it"
    else:
        yield from map(sentence, jsonschema.Draft202012Validator(schema).iter_errors(document))


def sentence(error):
    return f"{'.'.join(map(str, error.path))}: {error.message[:200]}"
