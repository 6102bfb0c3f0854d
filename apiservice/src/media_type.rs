//! The forms of a body, and their media types.

/// The form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// JSON.
    Json {
        /// Indented by two blanks, without a final newline; else one line with one.
        pretty: bool,
    },
    /// YAML.
    Yaml,
    /// Kubernetes' protobuf.
    Protobuf,
}

impl Form {
    /// The form for clients that accept nothing else.
    pub const RAW: Form = Form::Json { pretty: true };

    /// The media type, as Kubernetes writes it: without a charset.
    pub fn media_type(self) -> &'static str {
        match self {
            Form::Json { .. } => JSON,
            Form::Yaml => YAML,
            Form::Protobuf => PROTOBUF,
        }
    }
}

/// The media type of JSON.
pub const JSON: &str = "application/json";
/// The media type of YAML.
pub const YAML: &str = "application/yaml";
/// The media type of Kubernetes' protobuf.
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// The media type of plain text.
pub const TEXT: &str = "text/plain; charset=utf-8";
