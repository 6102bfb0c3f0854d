//! A document that is asked for again and again: each form is rendered when it is first asked for, and kept with its
//! entity tag. A large one is kept compressed.

use std::fmt;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderValue;
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use crate::encode::gzip::LARGE;
use crate::media_type::Form;

/// A document in every form. Cheap to clone.
#[derive(Clone)]
pub struct Document(Arc<Forms>);

struct Forms {
    write: Box<Writes>,
    /// Entries of the document, about.
    entries: usize,
    rendered: [OnceCell<Rendered>; 4],
}

/// Writes a document in a form.
type Writes = dyn Fn(Form, &mut dyn Write) -> io::Result<()> + Send + Sync;

/// One form of a document. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The bytes.
    pub body: RenderedBody,
    /// The entity tag, quoted and strong: it changes with every byte of the body.
    pub etag: HeaderValue,
}

/// The bytes of a form.
#[derive(Debug, Clone)]
pub enum RenderedBody {
    /// As they are.
    Plain(Bytes),
    /// Compressed by gzip, and how many there are without.
    Gzip(Bytes, u64),
}

impl Document {
    /// A document that is written when it is asked for; `entries` is about how many it has.
    pub(crate) fn new(
        entries: usize,
        write: impl Fn(Form, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static,
    ) -> Document {
        Document(Arc::new(Forms {
            write: Box::new(write),
            entries,
            rendered: std::array::from_fn(|_| OnceCell::new()),
        }))
    }

    /// The document in a form. A long one is rendered beside the threads that serve connections.
    pub async fn form(&self, form: Form) -> Rendered {
        let cell = &self.0.rendered[index(form)];
        let render = async || {
            if self.0.entries <= MANY {
                return self.0.render(form);
            }
            let forms = Arc::clone(&self.0);
            // Fails only with the runtime.
            tokio::task::spawn_blocking(move || forms.render(form))
                .await
                .unwrap_or_else(|_| self.0.render(form))
        };
        cell.get_or_init(render).await.clone()
    }

    /// Takes over what was rendered of a document that says the same.
    pub(crate) fn take_over(&self, other: &Document) {
        for (cell, rendered) in self.0.rendered.iter().zip(&other.0.rendered) {
            // Of a document that is not shared yet, no cell is filled.
            let _ = rendered.get().map(|rendered| cell.set(rendered.clone()));
        }
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Document").field(&self.0.entries).finish()
    }
}

impl Forms {
    fn render(&self, form: Form) -> Rendered {
        let mut body = Body::default();
        if let Err(error) = (self.write)(form, &mut body) {
            // Documents hold only strings, booleans and lists of them: serde_json writes those without fail.
            tracing::error!(%error, "cannot encode a discovery document");
        }
        body.finish()
    }
}

fn index(form: Form) -> usize {
    match form {
        Form::Json { pretty: false } => 0,
        Form::Json { pretty: true } => 1,
        Form::Yaml => 2,
        Form::Protobuf => 3,
    }
}

impl Rendered {
    /// A body as it is, with the tag that its bytes make.
    pub fn of(body: Bytes) -> Rendered {
        let etag = tag(Sha256::new_with_prefix(&body));
        Rendered { body: RenderedBody::Plain(body), etag }
    }
}

fn tag(digest: Sha256) -> HeaderValue {
    let digest = digest.finalize();
    let mut tag = String::with_capacity(2 * digest.len() + 2);
    tag.push('"');
    for byte in digest {
        let _ = write!(tag, "{byte:02X}");
    }
    tag.push('"');
    // Hexadecimal digits and quotes are always a valid header value.
    HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""))
}

/// A body under way: of a large one, no more than a piece is held uncompressed.
#[derive(Default)]
struct Body {
    digest: Sha256,
    length: u64,
    /// What was written and is neither hashed nor compressed yet.
    piece: Vec<u8>,
    compressed: Option<GzEncoder<Vec<u8>>>,
}

impl Body {
    fn pass_on(&mut self) -> io::Result<()> {
        let encoder = self.compressed.get_or_insert_with(|| GzEncoder::new(Vec::new(), Compression::fast()));
        self.digest.update(&self.piece);
        encoder.write_all(&self.piece)?;
        self.piece.clear();
        Ok(())
    }

    fn finish(mut self) -> Rendered {
        self.digest.update(&self.piece);
        let body = match self.compressed.take() {
            None => RenderedBody::Plain(self.piece.into()),
            // Writing to memory cannot fail.
            Some(mut encoder) => {
                let _ = encoder.write_all(&self.piece);
                let mut compressed = encoder.finish().unwrap_or_default();
                compressed.shrink_to_fit();
                RenderedBody::Gzip(compressed.into(), self.length)
            }
        };
        Rendered { body, etag: tag(self.digest) }
    }
}

impl Write for Body {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.length += bytes.len() as u64;
        self.piece.extend_from_slice(bytes);
        if self.piece.len() > LARGE {
            self.pass_on()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A document of these takes a millisecond to render.
const MANY: usize = 2_000;

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const COMPACT: Form = Form::Json { pretty: false };

    fn document(length: usize, written: &Arc<AtomicUsize>) -> Document {
        let written = Arc::clone(written);
        Document::new(length, move |_, to| {
            written.fetch_add(1, Ordering::Relaxed);
            (0..length).try_for_each(|index| write!(to, "{},", index % 10))
        })
    }

    #[tokio::test]
    async fn a_form_is_rendered_once_and_only_when_it_is_asked_for() {
        let written = Arc::default();
        let document = document(10, &written);
        assert_eq!(written.load(Ordering::Relaxed), 0);
        let first = document.form(COMPACT).await;
        let second = document.form(COMPACT).await;
        assert_eq!(written.load(Ordering::Relaxed), 1);
        assert_eq!(first.etag, second.etag);
        let RenderedBody::Plain(body) = first.body else { panic!("compressed") };
        assert_eq!(body, "0,1,2,3,4,5,6,7,8,9,");
    }

    #[tokio::test]
    async fn a_large_document_is_kept_compressed_with_the_tag_of_its_plain_bytes() {
        let document = document(200_000, &Arc::default());
        let Rendered { body, etag } = document.form(COMPACT).await;
        let RenderedBody::Gzip(compressed, length) = body else { panic!("plain") };
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&compressed[..]).read_to_end(&mut plain).expect("gzip");
        assert_eq!((plain.len(), length), (400_000, 400_000));
        assert_eq!(etag, Rendered::of(plain.into()).etag);
    }

    #[tokio::test]
    async fn what_was_rendered_is_taken_over() {
        let written = Arc::default();
        let (old, new) = (document(10, &written), document(10, &written));
        let tag = old.form(COMPACT).await.etag;
        new.take_over(&old);
        assert_eq!(new.form(COMPACT).await.etag, tag);
        assert_eq!(written.load(Ordering::Relaxed), 1);
    }
}
