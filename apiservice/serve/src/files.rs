//! Files that others write, read up to a limit: a wrong file must not fill the memory.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The most bytes that a file of certificates, of a key or of a token may have. The largest bundles of authorities have
/// a quarter of a megabyte.
pub const LARGEST_CREDENTIAL: usize = 8 << 20;

/// The bytes of a file.
///
/// # Errors
/// A file that cannot be read, or has more than `most` bytes.
pub fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("expected a file of at most {most} bytes, found a larger one"),
        ));
    }
    Ok(bytes)
}

/// The text of a file.
///
/// # Errors
/// As [`read`], and a file that is not UTF-8.
pub fn read_text(path: &Path, most: usize) -> io::Result<String> {
    String::from_utf8(read(path, most)?).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("expected text in UTF-8, found another byte at position {place}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("file");
        std::fs::write(&path, "12345").expect("writable");
        assert_eq!(read_text(&path, 5).expect("a text"), "12345");
        let error = read(&path, 4).expect_err("too large").to_string();
        assert_eq!(error, "expected a file of at most 4 bytes, found a larger one");
        // Endless.
        assert!(read(Path::new("/dev/zero"), 1 << 20).is_err());
        std::fs::write(&path, b"ab\xff").expect("writable");
        let error = read_text(&path, 5).expect_err("not UTF-8").to_string();
        assert_eq!(error, "expected text in UTF-8, found another byte at position 2");
    }
}
