"""That the checks notice: each breaks one thing in production's overlay, and wants it named."""

import copy
import unittest
from functools import cache
from pathlib import Path

from render import render
from schemas import invalid

OVERLAY = Path(__file__).resolve().parent / "overlays/prod"


@cache
def overlay():
    return render(OVERLAY)


def of(kind):
    """A copy of the overlay's first object of a kind, to be broken."""
    return copy.deepcopy(next(document for document in overlay() if document["kind"] == kind))


def at(document, path):
    """What holds the last step of a path, and that step."""
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in way:
        document = document[step]
    return document, last


class Schemas(unittest.TestCase):
    # A field that each of the operators' kinds must have.
    REQUIRED = {
        "Cluster": "spec.plugins.0.name",
        "ExternalSecret": "spec.dataFrom.0.extract.key",
        "HTTPRoute": "spec.parentRefs.0.name",
        "ObjectStore": "spec.configuration.destinationPath",
        "PodMonitor": "spec.selector",
        "PrometheusRule": "spec.groups.0.rules.0.expr",
        "ScheduledBackup": "spec.schedule",
    }

    def test_a_misspelt_field_is_unknown_and_leaves_the_right_one_missing(self):
        for kind, path in self.REQUIRED.items():
            with self.subTest(kind):
                document = of(kind)
                holder, field = at(document, path)
                holder[field + "z"] = holder.pop(field)
                said = " ".join(invalid(document))
                self.assertIn(f"'{field}z'", said)
                self.assertIn(f"'{field}' is a required property", said)

    def test_a_field_that_kubernetes_does_not_know_is_refused(self):
        deployment = of("Deployment")
        deployment["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
        self.assertIn("'readinesProbe' was unexpected", " ".join(invalid(deployment)))

    def test_a_value_of_another_type_is_refused(self):
        for kind, path in self.REQUIRED.items():
            with self.subTest(kind):
                document = of(kind)
                holder, field = at(document, path)
                holder[field] = [7]
                self.assertIn("[7] is not", " ".join(invalid(document)))

    def test_a_word_that_is_none_of_those_allowed_is_refused(self):
        document = of("ScheduledBackup")
        document["spec"]["method"] = "tape"
        self.assertIn("'tape' is not one of", " ".join(invalid(document)))

    def test_a_kind_that_nobody_knows_is_refused(self):
        self.assertEqual(list(invalid({**of("Cluster"), "kind": "Clster"})), ["there is no schema for it"])
        self.assertEqual(list(invalid({**of("Service"), "kind": "Servce"})), ["there is no schema for it"])
