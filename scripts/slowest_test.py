#!/usr/bin/env python3
"""Checks scripts/slowest, on binaries that print what libtest prints."""

import os
import pathlib
import stat
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parent / "slowest"


class Slowest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.times = self.folder / "times.txt"

    def run_binary(self, text, *arguments):
        """Runs a binary made of a shell script, as cargo runs one of the package `sample`."""
        binary = self.folder / "things-0123456789abcdef"
        binary.write_text(f"#!/bin/sh\n{text}\n")
        binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
        environment = {**os.environ, "CARGO_PKG_NAME": "sample"}
        environment.pop("RUSTC_BOOTSTRAP", None)
        command = [SCRIPT, "--into", self.times, binary, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    def listed(self):
        return subprocess.run([SCRIPT, self.times], capture_output=True, text=True, check=True).stdout.splitlines()

    def test_times_are_kept_and_output_goes_through(self):
        output = (
            "running 4 tests\n"
            "test a::quick ... ok <0.001s>\n"
            "test slow ... FAILED <12.345s>\n"
            "test loud - should panic ... ok <3.000s>\n"
            "test left_out ... ignored\n"
        )
        ran = self.run_binary(f"printf '{output}'; exit 101")
        self.assertEqual((ran.returncode, ran.stdout), (101, output), ran.stderr)
        self.assertEqual(
            self.listed(),
            [
                "     12.3 s  sample things slow",
                "      3.0 s  sample things loud",
                "      0.0 s  sample things a::quick",
            ],
        )

    def test_the_binary_is_asked_for_times_after_its_own_arguments(self):
        ran = self.run_binary('echo "$RUSTC_BOOTSTRAP $*"', "--test-threads=1", "a name")
        self.assertEqual(ran.stdout, "1 --test-threads=1 a name -Zunstable-options --report-time\n")

    def test_a_binary_that_is_killed_fails(self):
        ran = self.run_binary("echo 'test a ... ok <1.000s>'; kill -9 $$")
        self.assertEqual((ran.returncode, self.listed()), (137, ["      1.0 s  sample things a"]))

    def test_a_program_that_is_left_behind_does_not_keep_it(self):
        ran = self.run_binary("echo 'test a ... ok <1.000s>'; sleep 60 2>&- & exit 0")
        self.assertEqual((ran.returncode, self.listed()), (0, ["      1.0 s  sample things a"]))

    def test_ten_are_listed_each_with_its_longest_time(self):
        self.times.write_text("".join(f"{number}.0 p b t{number}\n" for number in range(12)) + "20.0 p b t3\n")
        listed = self.listed()
        self.assertEqual((len(listed), listed[:2]), (10, ["     20.0 s  p b t3", "     11.0 s  p b t11"]))
        self.assertNotIn("      3.0 s  p b t3", listed)

    def test_wrong_usage_is_told(self):
        ran = subprocess.run([SCRIPT], capture_output=True, text=True)
        self.assertEqual(ran.returncode, 64)
        self.assertIn("scripts/slowest FILE", ran.stderr)


if __name__ == "__main__":
    unittest.main()
