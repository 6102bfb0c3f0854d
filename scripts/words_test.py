#!/usr/bin/env python3
"""Checks scripts/words on files made here: each kind of fault is found with its place, and what is fine is not."""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parent / "words"


class Words(unittest.TestCase):
    def run_on(self, files):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "scripts").mkdir()
            shutil.copy(SCRIPT, root / "scripts/words")
            for name, text in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            subprocess.run(["git", "init", "--quiet", root], check=True)
            subprocess.run(["git", "-C", root, "add", "."], check=True)
            return subprocess.run([root / "scripts/words"], capture_output=True, text=True)

    def assert_found(self, name, text, *expected):
        ran = self.run_on({name: text})
        self.assertEqual(ran.returncode, 1, ran.stdout + ran.stderr)
        lines = ran.stdout.splitlines()
        self.assertEqual(len(lines), len(expected), ran.stdout)
        for line, part in zip(lines, expected):
            self.assertIn(part, line)

    def assert_fine(self, name, text):
        ran = self.run_on({name: text})
        self.assertEqual((ran.returncode, ran.stdout), (0, "1 files in plain words\n"), ran.stderr)

    def test_log_lines_begin_in_lower_case_without_a_full_stop(self):
        self.assert_found(
            "a/src/lib.rs",
            'fn f() {\n    tracing::warn!(%error, name = "A.", "Cannot read it.");\n}\n',
            "a/src/lib.rs:2: log line begins with a capital letter: 'Cannot read it.'",
            "log line ends with a full stop: 'Cannot read it.'",
        )
        self.assert_fine(
            "a/src/lib.rs",
            """
            fn f() {
                // "A text." in a comment.
                tracing::info!(target: "Requests.", user = g("A."), "HTTP");
                tracing::error!("ConfigMap {NAMESPACE}: not found; see a.b");
                tracing::debug!(error = f("(", '"'), "Prometheus \\"redirects\\" \\
                    every request");
                tracing::warn!("{message}");
            }
            """,
        )

    def test_the_help_of_a_metric_is_one_sentence(self):
        for text in ("requests.", "Requests", "Requests. Not more."):
            self.assert_found(
                "a/src/telemetry.rs",
                f'fn f(r: R) {{\n    r.counters("n", "{text}", &["a"]);\n}}\n',
                f"a/src/telemetry.rs:2: help of a metric is not one sentence: '{text}'",
            )
        self.assert_fine(
            "a/src/telemetry/server.rs", 'fn f(r: R) { r.float_gauge("n", "1 of a.b, e.g. \\\n  that.", &["A. B"]); }\n'
        )
        self.assert_fine("a/src/other.rs", 'fn f(r: R) { r.counter("n", "no help"); }\n')

    def test_phrases_are_found_in_comments_across_lines(self):
        self.assert_found(
            "a/src/lib.rs",
            "/// Waits for\n/// ever.\nfn f() {} // Nobody\n",
            "a/src/lib.rs:1: comment with 'for ever'",
            "a/src/lib.rs:3: comment with 'Nobody'",
        )
        self.assert_found("a.yaml", "# A list is\n# no map.\na: nobody\n", "a.yaml:1: comment with 'is no'")
        self.assert_found("scripts/run", "#!/bin/sh\n# All at once.\n", "scripts/run:2: comment with 'at once'")
        self.assert_found("a/b.go", "// Made anew.\nvar a = 1\n", "a/b.go:1: comment with 'anew'")

    def test_phrases_are_found_in_documents_log_lines_errors_and_helps(self):
        self.assert_found("docs/a.md", "# A\n\nThe first\nhas it.\n", "docs/a.md:4: comment with 'has it'")
        self.assert_found("a/src/lib.rs", 'fn f() { tracing::info!("made anew"); }\n', "log line with 'anew'")
        self.assert_found("a/src/lib.rs", '#[error("{0} is no name")]\nstruct A;\n', "error with 'is no'")
        self.assert_found("a/telemetry.rs", 'fn f() { r.gauge("n", "So many."); }\n', "help with 'So many'")

    def test_code_and_plain_words_are_fine(self):
        self.assert_fine(
            "a/src/lib.rs",
            "/// The account `nobody`; there is no other, and it is no longer used. For everyone.\n"
            'fn nobody() { let _ = "whoever // at once"; }\n',
        )
        self.assert_fine("a.md", "```\nwhoever\n```\n`has it`\n")

    def test_lines_of_comments_are_not_too_long(self):
        long = "x" * 118
        self.assert_found("a/src/lib.rs", f"// {long}\nfn f() {{}}\n", "a/src/lib.rs:1: comment of 121 columns")
        self.assert_found("a.yaml", f"a: 1\n## {long}\n", "a.yaml:2: comment of 121 columns")
        self.assert_fine("a/src/lib.rs", f'// {long[1:]}\nfn f() {{ "{long}"; }} // {long}\n')

    def test_paths_without_files_are_an_error(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["git", "init", "--quiet", folder], check=True)
            (pathlib.Path(folder) / "scripts").mkdir()
            shutil.copy(SCRIPT, pathlib.Path(folder) / "scripts/words")
            ran = subprocess.run([f"{folder}/scripts/words", "nowhere"], capture_output=True, text=True)
        self.assertEqual(ran.returncode, 1)
        self.assertIn("expected files of the repository, found none below nowhere", ran.stderr)


if __name__ == "__main__":
    unittest.main()
