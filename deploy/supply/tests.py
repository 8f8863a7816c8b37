"""Tests of the check: what it must notice, on the real crates with one thing wrong."""

import copy
import datetime
import functools
import unittest

import advisories
import bill
import deny


@functools.cache
def real_metadata():
    return bill.read_metadata("--all-features")


def changed(crate, **fields):
    """The real crates, one of which has other fields."""
    metadata = copy.deepcopy(real_metadata())
    for package in metadata["packages"]:
        if package["name"] == crate:
            package.update(fields)
    return metadata


HARMLESS = {"id": "RUSTSEC-2020-0001", "crate": "nobody-uses-it", "date": "2020-01-01", "title": "Harmless"}


class DenyTests(unittest.TestCase):
    def test_weaknesses_of_our_versions_are_found(self):
        weak = {"id": "RUSTSEC-2099-0001", "crate": "tokio", "date": "2099-01-01", "title": "Bad", "patched": [">= 9"]}
        self.assertEqual(deny.run(real_metadata(), [weak]).codes, ["vulnerability"])
        fixed = {**weak, "patched": [">= 1.0"]}
        self.assertEqual(deny.run(real_metadata(), [fixed]).codes, [])

    def test_crates_without_maintainer_are_found(self):
        left = {**HARMLESS, "crate": "tokio", "informational": "unmaintained"}
        self.assertEqual(deny.run(real_metadata(), [left]).codes, ["unmaintained"])

    def test_other_licences_are_found(self):
        metadata = changed("itoa", license="GPL-3.0-only")
        self.assertEqual(deny.run(metadata, [HARMLESS]).codes, ["rejected"])

    def test_other_origins_are_found(self):
        metadata = changed("itoa", source="git+https://example.com/itoa?rev=1#0123456789abcdef0123456789abcdef01234567")
        self.assertIn("source-not-allowed", deny.run(metadata, [HARMLESS]).codes)

    def test_banned_crates_are_found(self):
        self.assertIn("banned", deny.run(changed("itoa", name="openssl"), [HARMLESS]).codes)


class AdvisoryTests(unittest.TestCase):
    text = '```toml\n[advisory]\nid = "RUSTSEC-2020-1"\npackage = "a"\ndate = "2020-01-02"\n{}[versions]\npatched = [">= 2"]\n```\n\n# A title\n\nMore.\n'

    def test_a_snapshot_has_what_the_check_needs(self):
        kept = advisories.parse_advisory(self.text.format('informational = "unsound"\n'))
        self.assertEqual(
            kept,
            {
                "id": "RUSTSEC-2020-1",
                "crate": "a",
                "date": "2020-01-02",
                "title": "A title",
                "informational": "unsound",
                "patched": [">= 2"],
            },
        )
        self.assertEqual(advisories.parse_advisory(advisories.format_advisory(kept)), kept)

    def test_withdrawn_advisories_are_left_out(self):
        self.assertIsNone(advisories.parse_advisory(self.text.format('withdrawn = "2021-01-01"\n')))

    def test_a_release_needs_recent_advisories(self):
        description = {"date": "2026-01-01"}
        self.assertEqual(list(advisories.release_problems(description, datetime.date(2026, 1, 31))), [])
        self.assertEqual(len(list(advisories.release_problems(description, datetime.date(2026, 2, 1)))), 1)


class BillTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.materials = bill.bill_of_materials(bill.read_metadata(), bill.read_checksums(), "1.0.0")

    def test_it_has_the_crates_of_the_programs_and_not_those_of_tests(self):
        names = {component["name"] for component in self.materials["components"]}
        self.assertLessEqual({f"talktime-{program}" for program in bill.PROGRAMS} | {"tokio", "sqlx"}, names)
        self.assertFalse({"proptest", "talktime-tests", "s3s"} & names)

    def test_crates_of_others_have_a_checksum_and_a_licence(self):
        for component in self.materials["components"]:
            self.assertIn("licenses", component, component["name"])
            self.assertEqual("hashes" in component, not component["name"].startswith("talktime-"), component["name"])

    def test_each_version_has_a_number_of_its_own(self):
        other = bill.bill_of_materials(bill.read_metadata(), bill.read_checksums(), "1.0.1")
        self.assertNotEqual(other["serialNumber"], self.materials["serialNumber"])

    def test_mistakes_of_the_format_are_found(self):
        self.assertEqual(list(deny.schema_problems(self.materials)), [])
        broken = copy.deepcopy(self.materials)
        broken["components"][0]["type"] = "crate"
        self.assertEqual(len(list(deny.schema_problems(broken))), 1)
