//! What the arguments and the environment mean.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use api::image::ImageRef;

use crate::error::Usage;

/// `--assume NAMESPACE/POLICY=IMAGE:TAG[@DIGEST]`: a choice made up for a plan.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Assumption {
    pub(crate) namespace: String,
    pub(crate) policy: String,
    pub(crate) image: ImageRef,
}

/// `--secret NAMESPACE/NAME=DIR`: a Secret given as a folder with a file per key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SecretFolder {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
}

impl FromStr for Assumption {
    type Err = Usage;

    fn from_str(text: &str) -> Result<Self, Usage> {
        let wrong = |why: &str| {
            Usage(format!("--assume `{text}`: {why}; write NAMESPACE/POLICY=IMAGE:TAG[@DIGEST]"))
        };
        let (key, image) = text.split_once('=').ok_or_else(|| wrong("no `=`"))?;
        let (namespace, policy) = object_key(key).ok_or_else(|| wrong("no NAMESPACE/POLICY"))?;
        let (image, digest) = match image.split_once('@') {
            Some((image, digest)) => (image, Some(digest)),
            None => (image, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let (name, tag) = image.rsplit_once(':').ok_or_else(|| wrong("no `:TAG`"))?;
        if name.is_empty() || tag.contains('/') {
            return Err(wrong("no `:TAG`"));
        }
        tag.parse::<api::Tag>().map_err(|error| wrong(&error.to_string()))?;
        if let Some(digest) = digest {
            digest.parse::<api::Digest>().map_err(|error| wrong(&error.to_string()))?;
        }
        let image = ImageRef {
            name: name.to_owned(),
            tag: tag.to_owned(),
            digest: digest.map(str::to_owned),
        };
        Ok(Self { namespace, policy, image })
    }
}

impl FromStr for SecretFolder {
    type Err = Usage;

    fn from_str(text: &str) -> Result<Self, Usage> {
        let wrong = || Usage(format!("--secret `{text}`: write NAMESPACE/NAME=DIR"));
        let (key, folder) = text.split_once('=').ok_or_else(wrong)?;
        let (namespace, name) = object_key(key).ok_or_else(wrong)?;
        if folder.is_empty() {
            return Err(wrong());
        }
        Ok(Self { namespace, name, folder: folder.into() })
    }
}

/// Splits `NAMESPACE/NAME`.
fn object_key(text: &str) -> Option<(String, String)> {
    let (namespace, name) = text.split_once('/')?;
    let is_whole = !namespace.is_empty() && !name.is_empty() && !name.contains('/');
    is_whole.then(|| (namespace.to_owned(), name.to_owned()))
}

/// Returns the choices by namespace and policy; one policy cannot have two.
pub(crate) fn assumptions(texts: &[String]) -> Result<BTreeMap<(String, String), ImageRef>, Usage> {
    let mut assumed = BTreeMap::new();
    for text in texts {
        let assumption: Assumption = text.parse()?;
        let key = (assumption.namespace, assumption.policy);
        if assumed.contains_key(&key) {
            return Err(Usage(format!("--assume names {}/{} twice", key.0, key.1)));
        }
        assumed.insert(key, assumption.image);
    }
    Ok(assumed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assumption_names_policy_image_tag_and_digest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let read = |text: &str| text.parse::<Assumption>().map(|assumption| assumption.image);
        let image = |name: &str, tag: &str, digest: Option<&str>| ImageRef {
            name: name.to_owned(),
            tag: tag.to_owned(),
            digest: digest.map(str::to_owned),
        };
        assert_eq!(read("ns/p=app:v1").expect("valid"), image("app", "v1", None));
        assert_eq!(read("ns/p=h:5000/app:v1").expect("valid"), image("h:5000/app", "v1", None));
        let with_digest = read(&format!("ns/p=app:v1@{digest}")).expect("valid");
        assert_eq!(with_digest, image("app", "v1", Some(&digest)));
        for bad in [
            "p=app:v1",
            "ns/p",
            "ns/p=app",
            "ns/p=h:5000/app",
            "ns/p=app:-v1",
            "ns/p=app:v1@x",
            "/p=a:1",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_policy_is_assumed_once() {
        let texts = ["a/p=x:1".to_owned(), "a/p=x:2".to_owned()];
        assert!(assumptions(&texts).is_err());
        assert_eq!(assumptions(&texts[..1]).expect("one").len(), 1);
    }
}
