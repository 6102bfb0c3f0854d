//! Rules for servers that are widely used, by name: the files of `rules/presets`.

use std::fmt;

/// Rules for one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    name: &'static str,
    text: &'static str,
}

/// There is no preset of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {expected}, found {found:?}", expected = Names)]
pub struct UnknownPreset {
    found: String,
}

impl Preset {
    /// Every preset, sorted by name.
    pub const ALL: [Preset; 8] = [
        Preset { name: "dcgm", text: include_str!("../presets/dcgm/rules.yaml") },
        Preset {
            name: "kube-prometheus-resource",
            text: include_str!("../presets/kube-prometheus-resource/rules.yaml"),
        },
        Preset { name: "model-server", text: include_str!("../presets/model-server/rules.yaml") },
        Preset { name: "sglang", text: include_str!("../presets/sglang/rules.yaml") },
        Preset { name: "tgi", text: include_str!("../presets/tgi/rules.yaml") },
        Preset { name: "torchserve", text: include_str!("../presets/torchserve/rules.yaml") },
        Preset { name: "triton", text: include_str!("../presets/triton/rules.yaml") },
        Preset { name: "vllm", text: include_str!("../presets/vllm/rules.yaml") },
    ];

    /// The preset of a name.
    ///
    /// # Errors
    /// There is none of it.
    pub fn by_name(name: &str) -> Result<Preset, UnknownPreset> {
        let found = Preset::ALL.into_iter().find(|preset| preset.name == name);
        found.ok_or_else(|| UnknownPreset { found: name.to_owned() })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Its rule file.
    pub fn text(self) -> &'static str {
        self.text
    }
}

/// The names of all presets.
struct Names;

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Preset::ALL.map(Preset::name).join(", "))
    }
}
