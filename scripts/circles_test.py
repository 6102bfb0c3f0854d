#!/usr/bin/env python3
"""Checks scripts/circles on crates made here: circles of each kind are found, and what is not a circle is not."""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parent / "circles"


class Circles(unittest.TestCase):
    def run_on(self, **files):
        """Runs the script on a crate of these files, named from its folder src without `.rs`; `__` stands for `/`."""
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "scripts").mkdir()
            shutil.copy(SCRIPT, root / "scripts/circles")
            (root / "sample/src").mkdir(parents=True)
            (root / "sample/Cargo.toml").touch()
            for name, text in files.items():
                file = root / "sample/src" / f"{name.replace('__', '/')}.rs"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            return subprocess.run([root / "scripts/circles"], capture_output=True, text=True)

    def assert_circle(self, *names, **files):
        ran = self.run_on(**files)
        self.assertEqual(ran.returncode, 1, ran.stdout + ran.stderr)
        self.assertTrue(ran.stderr.startswith("1 circles: "), ran.stdout + ran.stderr)
        self.assertIn(f"circle of {len(names)} modules:", ran.stdout)
        for name in names:
            self.assertIn(f"  sample/src/{name}.rs imports ", ran.stdout)

    def assert_none(self, **files):
        ran = self.run_on(**files)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""), ran.stdout)

    def test_a_name_that_use_brings_makes_a_circle(self):
        self.assert_circle(
            "a",
            "b",
            lib="mod a; mod b;",
            a="use crate::b::B; pub struct A(B);",
            b="use super::a; pub fn b() -> a::A {}",
        )

    def test_a_path_in_code_makes_a_circle(self):
        self.assert_circle(
            "a", "b", lib="mod a; mod b;", a="fn f() { crate::b::g() }", b="pub fn g() -> Option<super::a::A> { None }"
        )

    def test_a_child_that_names_its_parent_makes_a_circle(self):
        self.assert_circle(
            "a", "a/b", lib="mod a;", a="mod b; pub struct A; fn f() { b::g() }", a__b="pub fn g(_: super::A) {}"
        )

    def test_a_child_in_a_file_of_the_old_style_is_followed(self):
        self.assert_circle(
            "a/mod", "a/b", lib="mod a;", a__mod="mod b; struct A; fn f() { b::g() }", a__b="pub fn g(_: super::A) {}"
        )

    def test_super_in_an_inline_module_is_the_file_around_it(self):
        self.assert_circle(
            "a",
            "b",
            lib="mod a; mod b;",
            a="mod inner { fn f() { super::super::b::g() } }",
            b="pub fn g() { crate::a::f() }",
        )
        self.assert_none(
            lib="mod a;",
            a="mod b; fn f() { b::g() } struct A; mod inner { use super::A; fn h(_: A, _: super::A) {} }",
            a__b="pub fn g() {}",
        )

    def test_an_alias_makes_a_circle(self):
        self.assert_circle(
            "a",
            "b",
            lib="mod a; mod b;",
            a="use crate::b as other; fn f() { other::g() }",
            b="use crate::a::A as Other; pub fn g(_: Other) {}",
        )

    def test_a_glob_makes_a_circle(self):
        self.assert_circle(
            "a", "a/b", lib="mod a;", a="mod b; struct A; fn f() { b::g() }", a__b="use super::*; pub fn g(_: A) {}"
        )
        self.assert_circle(
            "a",
            "b",
            lib="mod a; mod b;",
            a="use crate::b::Kind::*; pub struct A;",
            b="pub enum Kind { One(crate::a::A) }",
        )

    def test_a_name_that_is_handed_on_comes_from_the_file_that_defines_it(self):
        self.assert_circle(
            "a",
            "b",
            lib="mod a; mod b; pub use b::B;",
            a="use crate::B; pub struct A(B);",
            b="use crate::a::A; pub struct B(A);",
        )
        self.assert_circle(
            "a",
            "b",
            lib="mod a; mod b; mod all { pub use crate::b::*; } mod p;",
            p="pub use crate::b::*;",
            a="use crate::p::B; pub struct A(B);",
            b="use crate::a::A; pub struct B(A);",
        )
        self.assert_circle(
            "a",
            "b",
            lib="mod a; mod b; mod p;",
            p="pub(crate) use crate::b::B;",
            a="use crate::p::*; pub struct A(B);",
            b="use crate::a::A; pub struct B(A);",
        )

    def test_a_parent_that_only_hands_on_does_not_import(self):
        self.assert_none(
            lib="mod a; pub use a::A;",
            a="mod b; mod c; pub use b::b; pub(crate) use c::A;",
            a__b="use super::A; pub fn b(_: A) {}",
            a__c="pub struct A;",
        )

    def test_a_parent_that_uses_what_it_hands_on_imports_it(self):
        self.assert_circle(
            "a",
            "a/b",
            lib="mod a;",
            a="mod b; pub use b::B; pub struct A; fn f(_: B) {}",
            a__b="pub struct B(super::A);",
        )

    def test_three_files_make_a_circle(self):
        self.assert_circle(
            "a",
            "b",
            "c",
            lib="mod a; mod b; mod c;",
            a="fn f() { crate::b::f() }",
            b="pub fn f() { super::c::f() }",
            c="pub fn f() { crate::a::f() }",
        )

    def test_two_imports_of_one_name_in_two_blocks_both_count(self):
        self.assert_circle(
            "a",
            "b",
            lib="mod a; mod b; mod c;",
            a="fn f() { use crate::b::g; g() } fn h() { use crate::c::g; g() }",
            b="pub fn g() { crate::a::f() }",
            c="pub fn g() {}",
        )

    def test_macros_and_traits_in_angle_brackets_make_a_circle(self):
        self.assert_circle(
            "a",
            "b",
            lib="mod a; mod b;",
            a="fn f() { let _ = <crate::b::B as Default>::default(); }",
            b='pub fn g() { format!("{}", crate::a::f()) }',
        )

    def test_items_for_tests_do_not_count(self):
        self.assert_none(
            lib="mod a;",
            a="mod b; pub struct A; fn f() { b::g() }",
            a__b="""
                pub fn g() {}
                #[cfg(test)]
                #[allow(dead_code)]
                mod tests { use super::*; use crate::a::A; fn f() -> A { A } }
                #[cfg(test)] use super::A;
                struct S { #[cfg(test)] a: super::A, b: u8 }
            """,
        )
        # Items behind those still count.
        self.assert_circle(
            "a",
            "a/b",
            lib="mod a;",
            a="mod b; pub struct A; fn f() { b::g() }",
            a__b="#[cfg(test)] mod tests { fn f() {} } struct S { #[cfg(test)] a: u8, b: super::A } pub fn g() {}",
        )

    def test_methods_that_a_file_adds_to_a_type_of_another_make_a_circle(self):
        for added in (
            "impl A { pub fn f(&self) {} }",
            "impl<T: Into<u8>> A<T> where T: Copy { pub const fn f() {} }",
            "pub struct B; unsafe impl A {}",
        ):
            self.assert_circle("a", "b", lib="mod a; mod b;", a="pub struct A;", b=f"use crate::a::A; {added}")

    def test_a_file_may_add_methods_to_a_type_of_the_file_above_it(self):
        self.assert_none(
            lib="mod a;",
            a="mod b; mod c; pub struct A; impl A { fn f(&self) { self.g(); self.h() } }",
            a__b="impl super::A { pub(super) fn g(&self) {} }",
            a__c="use super::A; impl A { pub(super) fn h(&self) { self.g() } }",
        )

    def test_added_methods_that_call_each_other_make_a_circle(self):
        self.assert_circle(
            "a/b",
            "a/c",
            lib="mod a;",
            a="mod b; mod c; pub struct A;",
            a__b="use super::A; impl A { pub(super) async fn g(&self) { self.h::<u8>(1) } pub(super) fn i(&self) {} }",
            a__c="use super::A; impl A { pub(super) fn h<T>(&mut self, t: T) { self.i() } }",
        )
        # In the implementation of a trait, too.
        self.assert_circle(
            "a/b",
            "a/c",
            lib="mod a;",
            a="mod b; mod c; pub struct A;",
            a__b="""
                use super::A;
                impl A { pub(super) fn g(&self) {} }
                impl Drop for A { fn drop(&mut self) { self.h() } }
            """,
            a__c="use super::A; impl A { pub(super) fn h(&self) { self.g() } }",
        )

    def test_a_call_of_an_added_method_that_has_its_name_alone_makes_a_circle(self):
        files = dict(lib="mod a; mod d;", a="mod b; pub struct A;", d="pub struct D; fn f(a: &Held) { a.held.g() }")
        self.assert_circle("a/b", "d", **files, a__b="use crate::d::D; impl super::A { pub fn g(&self) -> D { D } }")
        # A method of another type may be meant, of which only the number of arguments is known.
        files["a"] += " struct Other; impl Other { fn g(&self) {} }"
        self.assert_none(**files, a__b="use crate::d::D; impl super::A { pub fn g(&self) -> D { D } }")
        files["a"] = "mod b; pub struct A;"
        self.assert_none(**files, a__b="use crate::d::D; impl super::A { pub fn g(&self, _: u8) -> D { D } }")
        # What is called cannot be a method that is out of sight.
        self.assert_none(**files, a__b="use crate::d::D; impl super::A { fn g(&self) -> D { D } }")

    def test_an_implemented_trait_adds_no_methods(self):
        self.assert_none(
            lib="mod a; mod b;",
            a="pub struct A; fn f(a: A) { a.g() }",
            b="use crate::a::A; pub trait B { fn g(&self); } impl B for A { fn g(&self) {} } impl<T> B for Vec<T> {}",
        )

    def test_another_crate_of_a_module_name_does_not_count(self):
        self.assert_none(
            lib="mod a;",
            a="mod rules; use ::rules::Rule; struct A(::rules::Rule, rules::B);",
            a__rules="use ::a::A; pub struct B(::a::A);",
        )
        self.assert_none(lib="mod a; mod b;", a="use b::B; pub struct A(b::B);", b="use crate::a::A; pub struct B(A);")
        # A name in one block does not hide the crate of that name elsewhere.
        self.assert_none(
            lib="mod a; mod b; mod c;",
            a="fn f() { use crate::c as b; b::g() } fn h() { b::g() }",
            b="pub fn g() { crate::a::f() }",
            c="pub fn g() {}",
        )

    def test_comments_texts_and_declarations_do_not_count(self):
        self.assert_none(
            lib="mod a;",
            a="mod b; pub struct A; fn f() { b::g() }",
            a__b="""
                //! See [`super::A`] and crate::a::A.
                /* super::A */
                pub fn g() { let _ = ("super::A", r#"crate::a::A "#, b"super::A", '"', 'a', "\\\\" ); }
            """,
        )
        self.assert_none(lib="mod a;", a="mod b; pub use b::b;", a__b="use super::c; pub fn b() {}")

    def test_tests_and_benchmarks_are_crates_too(self):
        for folder in ("tests", "benches", "examples", "src/bin"):
            ran = self.run_on(
                **{
                    f"../{folder}/one/main".replace("/", "__"): "mod a; mod b;",
                    f"../{folder}/one/a".replace("/", "__"): "fn f() { crate::b::g() }",
                    f"../{folder}/one/b".replace("/", "__"): "pub fn g() { crate::a::f() }",
                }
            )
            self.assertIn(f"sample/{folder}/one/a.rs imports g of sample/{folder}/one/b.rs", ran.stdout + ran.stderr)

    def test_a_module_without_a_file_is_an_error(self):
        ran = self.run_on(lib="mod a;")
        self.assertNotEqual(ran.returncode, 0)
        self.assertIn("found neither", ran.stderr)

    def test_a_module_is_read_from_the_place_that_an_attribute_gives(self):
        self.assert_circle(
            "a",
            "there/c",
            lib="mod a;",
            a='#[path = "there/c.rs"]\n#[allow(dead_code)]\nmod b; struct A; fn f() { b::g() }',
            there__c="pub fn g(_: super::A) {}",
        )


if __name__ == "__main__":
    unittest.main()
