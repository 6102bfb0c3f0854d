//! What a model's file is: people give files of every kind, and should be told which.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use prost::Message as _;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It may be ONNX, which has no mark of its own.
    MaybeOnnx,
    /// A program with its weights, as `torch.jit.save` writes it.
    TorchScript,
    /// Weights without a program, as `torch.save` writes them.
    TorchWeights,
    /// A program as `torch.export.save` writes it.
    TorchExport,
    /// Another zip archive.
    Zip,
    /// A Python pickle, which may run anything when it is read.
    Pickle,
    /// JSON, or safetensors, which begin with it.
    JsonOrSafetensors,
    /// Nothing.
    Empty,
}

impl Kind {
    /// Looks at a file's beginning and, of an archive, at its list of contents.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of(file: &mut (impl Read + Seek)) -> io::Result<Kind> {
        let mut head = Vec::new();
        file.by_ref().take(16).read_to_end(&mut head)?;
        Ok(if head.is_empty() {
            Kind::Empty
        } else if head.starts_with(b"PK\x03\x04") {
            let names = zip_names(file)?;
            let any = |part: &[u8]| names.windows(part.len()).any(|window| window == part);
            if any(b"constants.pkl") {
                Kind::TorchScript
            } else if any(b"archive_format") || any(b"serialized_exported_program") {
                Kind::TorchExport
            } else if any(b"data.pkl") {
                Kind::TorchWeights
            } else {
                Kind::Zip
            }
        } else if head.starts_with(b"\x80") {
            Kind::Pickle
        } else if head.first() == Some(&b'{') || head.get(8) == Some(&b'{') {
            Kind::JsonOrSafetensors
        } else {
            Kind::MaybeOnnx
        })
    }

    /// For people, as in "found a zip archive".
    pub fn describe(self) -> &'static str {
        match self {
            Kind::MaybeOnnx => "something that may be ONNX",
            Kind::TorchScript => "a TorchScript file",
            Kind::TorchWeights => {
                "PyTorch weights without a program (torch.save; torch.onnx.export writes a whole model)"
            }
            Kind::TorchExport => {
                "a torch.export archive (its program can be written as ONNX with torch.onnx.export)"
            }
            Kind::Zip => "a zip archive that is no model",
            Kind::Pickle => "a Python pickle, which is never read because it may run anything",
            Kind::JsonOrSafetensors => "JSON or safetensors",
            Kind::Empty => "nothing",
        }
    }
}

/// Bytes of a model's file and of those that an ONNX file says its weights lie in. Files that are not there count
/// nothing: the backend tells which it misses.
///
/// # Errors
/// The file cannot be read.
pub fn bytes_of_all(path: &Path) -> io::Result<u64> {
    let mut bytes = fs::metadata(path)?.len();
    // A larger one has its weights inside, and its archive is nothing that this could read.
    if bytes > LARGEST_WITHOUT_WEIGHTS {
        return Ok(bytes);
    }
    let Ok(Onnx { graph: Some(graph) }) = Onnx::decode(&fs::read(path)?[..]) else { return Ok(bytes) };
    let folder = path.parent().unwrap_or(Path::new(""));
    let entries = graph.weights.iter().flat_map(|weights| &weights.external);
    let files: BTreeSet<&str> =
        entries.filter(|entry| entry.key == "location").map(|entry| &*entry.value).collect();
    for file in files {
        bytes += fs::metadata(folder.join(file)).map_or(0, |file| file.len());
    }
    Ok(bytes)
}

/// What an ONNX file is without its weights, at most.
const LARGEST_WITHOUT_WEIGHTS: u64 = 64 << 20;

/// As much of ONNX's messages as says where weights lie; the rest is skipped.
#[derive(prost::Message)]
struct Onnx {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
}

#[derive(prost::Message)]
struct Graph {
    #[prost(message, repeated, tag = "5")]
    weights: Vec<Weights>,
}

#[derive(prost::Message)]
struct Weights {
    #[prost(message, repeated, tag = "13")]
    external: Vec<Entry>,
}

#[derive(prost::Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// The list of an archive's contents, which lies at its end; empty if it is damaged.
fn zip_names(file: &mut (impl Read + Seek)) -> io::Result<Vec<u8>> {
    let length = file.seek(SeekFrom::End(0))?;
    let start = length.saturating_sub(LONGEST_END);
    file.seek(SeekFrom::Start(start))?;
    let mut end = Vec::new();
    file.by_ref().take(LONGEST_END).read_to_end(&mut end)?;
    let Some(at) = end.windows(4).rposition(|window| window == b"PK\x05\x06") else { return Ok(Vec::new()) };
    let number = |offset: usize| -> Option<u64> {
        let bytes: [u8; 4] = end.get(at + offset..at + offset + 4)?.try_into().ok()?;
        Some(u64::from(u32::from_le_bytes(bytes)))
    };
    let (Some(size), Some(offset)) = (number(12), number(16)) else { return Ok(Vec::new()) };
    file.seek(SeekFrom::Start(offset))?;
    let mut list = Vec::new();
    file.by_ref().take(size.min(LONGEST_LIST)).read_to_end(&mut list)?;
    Ok(list)
}

/// The last record of an archive, with the longest comment.
const LONGEST_END: u64 = 22 + 65_535;
const LONGEST_LIST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// An archive of empty files with these names.
    fn zip(names: &[&str]) -> Vec<u8> {
        let mut archive = Vec::new();
        let mut list = Vec::new();
        for name in names {
            let length = (name.len() as u16).to_le_bytes();
            list.extend(b"PK\x01\x02");
            list.extend([0; 24]);
            list.extend(length);
            list.extend([0; 16]);
            list.extend(name.bytes());
            archive.extend(b"PK\x03\x04");
            archive.extend([0; 22]);
            archive.extend(length);
            archive.extend([0; 2]);
            archive.extend(name.bytes());
        }
        let offset = (archive.len() as u32).to_le_bytes();
        archive.extend(&list);
        archive.extend(b"PK\x05\x06");
        archive.extend([0; 8]);
        archive.extend((list.len() as u32).to_le_bytes());
        archive.extend(offset);
        archive.extend([0; 2]);
        archive
    }

    #[test]
    fn files_are_what_they_hold() {
        for (content, expected) in [
            (zip(&["m/data.pkl", "m/code/__torch__.py", "m/constants.pkl"]), Kind::TorchScript),
            (zip(&["m/data.pkl", "m/data/0"]), Kind::TorchWeights),
            (zip(&["m/archive_format", "m/models/model.json"]), Kind::TorchExport),
            (zip(&["a.txt"]), Kind::Zip),
            (b"PK\x03\x04".to_vec(), Kind::Zip),
            (b"PK\x03\x04PK\x05\x06".to_vec(), Kind::Zip),
            (b"\x80\x02}q".to_vec(), Kind::Pickle),
            (b"{}".to_vec(), Kind::JsonOrSafetensors),
            (b"\x10\0\0\0\0\0\0\0{\"a\"".to_vec(), Kind::JsonOrSafetensors),
            (Vec::new(), Kind::Empty),
            (b"\x08\x07\x12".to_vec(), Kind::MaybeOnnx),
        ] {
            assert_eq!(Kind::of(&mut Cursor::new(&content)).expect("memory"), expected, "{content:?}");
        }
    }
}
