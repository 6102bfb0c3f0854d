//! The model that a path names.

use serde::Deserialize;

use crate::routes::excerpt::Excerpt;
use crate::routes::served::Served;

/// Which model is meant. There is one, with one version.
#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) model: String,
    pub(super) version: Option<String>,
}

impl Named {
    /// Whether it is the model that is served.
    ///
    /// # Errors
    /// Which is, and which was meant.
    pub(super) fn check(&self, served: &Served) -> Result<(), String> {
        let identity = &served.settings.identity;
        if self.model != identity.model {
            return Err(format!("expected model {:?}, found {}", identity.model, Excerpt(&self.model)));
        }
        match &self.version {
            Some(version) if *version != identity.version => {
                let (known, model) = (&identity.version, &identity.model);
                let found = Excerpt(version);
                Err(format!("expected version {known:?} of model {model:?}, found {found}"))
            }
            _ => Ok(()),
        }
    }
}
