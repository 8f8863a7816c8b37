"""Tests of the checks of the image and of ports: each breaks one thing, and expects a problem that names it."""

import copy
import tomllib
import unittest
from pathlib import Path

import yaml

from image import image_problems, port_problems

HERE = Path(__file__).resolve().parent
COMPOSE = yaml.safe_load((HERE / "compose.yaml").read_text())
TABLES = tomllib.loads((HERE / "talktime.toml").read_text())
DOCKERFILE = (HERE / "Dockerfile").read_text()
IGNORED = (HERE / "Dockerfile.dockerignore").read_text()
WORKSPACE = tomllib.loads((HERE.parents[1] / "Cargo.toml").read_text())["workspace"]


class Image(unittest.TestCase):
    # A text in the Dockerfile, its replacement, and the sentence that names the problem.
    BROKEN = [
        (" -p talktime-gateway", "", "does not build talktime-gateway"),
        ("verification gateway; do", "verification; do", "talktime-gateway is not in the image"),
        (f"RUST_VERSION={WORKSPACE['package']['rust-version']}", "RUST_VERSION=1.80", "Rust 1.80, and the workspace"),
        ("DEBIAN=trixie", "DEBIAN=bookworm", "Debian bookworm, and the stable one is trixie"),
    ]

    def test_what_the_image_lacks_is_named(self):
        for old, new, sentence in self.BROKEN:
            with self.subTest(sentence):
                self.assertIn(old, DOCKERFILE)
                found = image_problems(DOCKERFILE.replace(old, new), IGNORED, WORKSPACE)
                self.assertIn(sentence, " ".join(found))

    def test_what_the_build_context_lacks_is_named(self):
        for path in ("proto", "gateway", "Cargo.lock"):
            with self.subTest(path):
                found = image_problems(DOCKERFILE, IGNORED.replace(f"!{path}\n", ""), WORKSPACE)
                self.assertIn(f"{path} is not in the build context", " ".join(found))


class Ports(unittest.TestCase):
    def broken(self, change):
        compose = copy.deepcopy(COMPOSE)
        change(compose["services"])
        return " ".join(port_problems(compose, TABLES))

    def test_a_port_on_which_nothing_listens_is_named(self):
        found = self.broken(lambda services: services["gateway"].update(ports=["127.0.0.1:8080:8081"]))
        self.assertIn("gateway: publishes port 8081, on which it does not listen", found)

    def test_a_health_check_of_another_port_or_page_is_named(self):
        def replace(old, new):
            def change(services):
                test = [part.replace(old, new) for part in services["wallet"]["healthcheck"]["test"]]
                services["wallet"]["healthcheck"] = {"test": test}
            return change

        self.assertIn("wallet: its health check uses port 7201", self.broken(replace("/7200", "/7201")))
        found = self.broken(replace("GET /readyz", "GET /livez"))
        self.assertIn("wallet: its health check does not request /readyz", found)
