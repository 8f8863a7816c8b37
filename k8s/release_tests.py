"""That the checks of releases notice: each breaks one thing, and wants it named."""

import copy
import unittest
from functools import cache

import policy
import releases
from render import render
from tests import K8S, OVERLAY, container, expect_problems, named, overlay, without

CANARY = K8S / "overlays/prod-canary"
APPLICATIONS = K8S / "gitops"


@cache
def canary():
    return render(CANARY)


def weights(documents, rule):
    return named(documents, "HTTPRoute", "talktime")["spec"]["rules"][rule]["backendRefs"]


class Releases(unittest.TestCase):
    # What is broken beside a canary, and what is said of it.
    BROKEN = [
        (
            lambda d: without(d, "Service", "talktime-gateway-canary"),
            "HTTPRoute talktime: there is no Service talktime-gateway-canary:80",
        ),
        (
            lambda d: container(d, name="talktime-gateway-canary").update(image="registry.example.com/talktime:0.1.0"),
            "talktime-gateway-canary: runs the same release as talktime-gateway",
        ),
        (
            lambda d: container(d, name="talktime-gateway-canary")["envFrom"].pop(),
            "talktime-gateway-canary: has other settings than talktime-gateway",
        ),
        (lambda d: weights(d, 1)[1].update(weight=50), "talktime-gateway-canary: gets 34% of /verification/"),
        (lambda d: weights(d, 0).pop(), "talktime-gateway-canary: gets 0% of /ws/"),
        (
            lambda d: next(
                s for s in d if s["kind"] == "Service" and s["metadata"]["name"] == "talktime-gateway"
            )["spec"]["selector"].pop("talktime/track"),
            "Service talktime-gateway: leads to talktime-gateway-canary as well",
        ),
        (
            lambda d: named(d, "Job", "migrate-wallet")["metadata"]["annotations"].pop(releases.HOOK),
            "Job migrate-wallet: a change does not run it again",
        ),
        (
            lambda d: named(d, "Job", "nats-stream")["metadata"]["annotations"].update({releases.WAVE: "2"}),
            "Job nats-stream: does not run between the stores and the processes",
        ),
    ]
    # What is broken in production's application, and what is said of it.
    APPLICATION = [
        (lambda spec: spec["source"].update(path="k8s/overlays/prd"), "there is no k8s/overlays/prd"),
        (lambda spec: spec["source"].update(targetRevision="main"), "production follows main, which is no release"),
        (lambda spec: spec["syncPolicy"].update(automated={}), "production changes without anybody's consent"),
    ]

    def test_what_is_broken_beside_a_canary_is_named(self):
        expect_problems(self, self.BROKEN, CANARY, canary(), releases.problems)

    def test_what_is_broken_in_an_application_is_named(self):
        for broken, sentence in self.APPLICATION:
            with self.subTest(sentence):
                application = named(render(APPLICATIONS), "Application", "talktime-production")
                broken(application["spec"])
                self.assertIn(sentence, " ".join(releases.application_problems(application, K8S.parent)))

    def test_an_image_by_its_tag_is_found_and_one_by_its_digest_is_not(self):
        documents = copy.deepcopy(overlay())
        container(documents).update(image="registry.example.com/talktime@sha256:" + "0" * 64)
        found = releases.unpinned(policy.Overlay(K8S.parent, OVERLAY, documents))
        self.assertIn("registry.example.com/talktime:0.1.0", found)
        self.assertFalse([image for image in found if "@sha256:" in image])

