//! Who may use an image that is here: one that a pull secret opened is not for everybody.
//!
//! Who comes with the same secret, or without one to an image that everybody may pull, is let in. Who
//! comes with another has the registry asked again. Images that were imported are everybody's. What is
//! known is one small file, or a restart would open all images to all.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kobune_runtime::Image;
use serde::{Deserialize, Serialize};

use super::credentials::{repository, whole_name};

/// The Secret that credentials come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
}

/// Who may use an image by the name of one repository.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Holders {
    everybody: bool,
    secrets: Vec<Source>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct State {
    /// Pulls of which no end is known: what they brought was not imported.
    begun: BTreeSet<String>,
    /// By image id, then by repository.
    pulled: BTreeMap<String, BTreeMap<String, Holders>>,
}

impl State {
    fn allows(&self, image: &str, id: &str, sources: &[Source]) -> bool {
        let Some(repositories) = self.pulled.get(id) else {
            return !self.begun.contains(image);
        };
        let holders = repositories.get(repository(&whole_name(image)));
        holders.is_some_and(|h| h.everybody || sources.iter().any(|source| h.secrets.contains(source)))
    }

    fn pulled(&mut self, name: &str, image: &Image, with: Option<Source>) {
        let of = |name: &str| repository(&whole_name(name)).to_owned();
        let repositories = self.pulled.entry(image.id.clone()).or_insert_with(|| {
            // It was here by other names, of which no pull is known: those stay everybody's.
            let others = image
                .tags
                .iter()
                .map(|tag| of(tag))
                .filter(|other| *other != of(name));
            let everybody = || Holders {
                everybody: true,
                secrets: Vec::new(),
            };
            others.map(|other| (other, everybody())).collect()
        });
        let holders = repositories.entry(of(name)).or_default();
        match with {
            None => {
                holders.everybody = true;
                holders.secrets.clear();
            }
            Some(source) if !holders.everybody && !holders.secrets.contains(&source) => {
                holders.secrets.push(source);
            }
            Some(_) => {}
        }
    }
}

/// What is known of all images of this node.
pub struct Access {
    file: PathBuf,
    state: Mutex<State>,
}

impl Access {
    /// Reads what an earlier run knew.
    pub fn open(file: PathBuf) -> Self {
        let state = match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(file = %file.display(), %error, "who may use which image is not known any more");
                State::default()
            }),
            Err(_) => State::default(),
        };
        let state = Mutex::new(state);
        Access { file, state }
    }

    /// Whether a pod with these pull secrets may use the image `id` by the name `image`.
    pub fn allows(&self, image: &str, id: &str, sources: &[Source]) -> bool {
        self.state().allows(image, id, sources)
    }

    /// A pull begins; it is over, well or not, when what is answered is dropped.
    pub fn begin<'a>(&'a self, image: &'a str) -> Begun<'a> {
        let mut state = self.state();
        if state.begun.insert(image.to_owned()) {
            self.write(&state);
        }
        Begun { access: self, image }
    }

    /// Forgets images that are gone.
    pub fn retain(&self, ids: &HashSet<String>) {
        let mut state = self.state();
        let before = state.pulled.len();
        state.pulled.retain(|id, _| ids.contains(id));
        if state.pulled.len() != before {
            self.write(&state);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, state: &State) {
        let written = serde_json::to_vec(state)
            .map_err(io::Error::from)
            .and_then(|text| {
                let part = self.file.with_extension("part");
                let mut file = fs::File::create(&part)?;
                file.write_all(&text)?;
                file.sync_all()?;
                fs::rename(&part, &self.file)
            });
        if let Err(error) = written {
            tracing::warn!(file = %self.file.display(), %error, "who may use which image was not written down");
        }
    }
}

/// A pull under way.
pub struct Begun<'a> {
    access: &'a Access,
    image: &'a str,
}

impl Begun<'_> {
    /// It brought the image, and the registry accepted this secret, or wanted none.
    pub fn brought(self, image: &Image, with: Option<Source>) {
        let mut state = self.access.state();
        state.pulled(self.image, image, with);
        state.begun.remove(self.image);
        self.access.write(&state);
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let mut state = self.access.state();
        if state.begun.remove(self.image) {
            self.access.write(&state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str) -> Source {
        Source {
            uid: format!("uid-{name}"),
            namespace: "default".into(),
            name: name.into(),
        }
    }

    #[test]
    fn an_image_that_a_secret_opened_is_for_those_who_have_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("image-pulls.json");
        let access = Access::open(file.clone());
        let name = "registry.test/private:1";
        let image = Image {
            id: "sha256:a".into(),
            tags: vec![name.into(), "docker.io/library/imported:1".into()],
            ..Image::default()
        };
        assert!(access.allows(name, "sha256:a", &[]), "it was imported");
        let begun = access.begin(name);
        assert!(
            !Access::open(file.clone()).allows(name, "sha256:a", &[]),
            "killed while it was pulled"
        );
        begun.brought(&image, Some(source("right")));
        let access = Access::open(file);
        assert!(!access.allows(name, "sha256:a", &[]));
        assert!(!access.allows(name, "sha256:a", &[source("other")]));
        assert!(access.allows(
            "registry.test/private:2",
            "sha256:a",
            &[source("other"), source("right")]
        ));
        assert!(!access.allows("elsewhere.test/private:1", "sha256:a", &[source("right")]));
        assert!(access.allows("imported:1", "sha256:a", &[]), "it was here before");
        // A secret more is one more who may; a registry that wants none opens it to all.
        access.begin(name).brought(&image, Some(source("other")));
        assert!(access.allows(name, "sha256:a", &[source("right")]));
        access.begin(name).brought(&image, None);
        assert!(access.allows(name, "sha256:a", &[]));
        access.retain(&HashSet::new());
        drop(access.begin("given.up/1"));
        assert!(access.allows("given.up/1", "sha256:b", &[]));
        assert!(access.allows("elsewhere.test/private:1", "sha256:a", &[]));
    }
}
