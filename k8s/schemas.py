"""What the schemas of Kubernetes and of the operators say against an object."""

import jsonschema
import kubernetes_validate

import resources

KUBERNETES = "1.37"


def invalid(document):
    """What is wrong with an object: fields that nobody knows, too."""
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
