"""Validates objects against the schemas of Kubernetes and of the operators."""

import jsonschema
import kubernetes_validate

import resources

KUBERNETES = "1.37"


def schema_problems(document):
    """Yields a as_sentence for each violation of the schema of an object; unknown fields are violations."""
    if document["apiVersion"].partition("/")[0] in resources.CRATES:
        return operator_schema_problems(document)
    return kubernetes_schema_problems(document)


def kubernetes_schema_problems(document):
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        yield "there is no schema for it"
    except kubernetes_validate.ValidationError as error:
        yield as_sentence(error)


def operator_schema_problems(document):
    schema = resources.schema(document["apiVersion"], document["kind"])
    if schema is None:
        yield "there is no schema for it"
    else:
        yield from map(as_sentence, jsonschema.Draft202012Validator(schema).iter_errors(document))


def as_sentence(error):
    return f"{'.'.join(map(str, error.path))}: {error.message[:200]}"
