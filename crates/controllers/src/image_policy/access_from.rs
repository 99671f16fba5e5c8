//! Which ImageRepository a policy may choose from.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    condition::Reason,
    image::{AccessFrom, ImageRepository},
};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;

use crate::{
    access::text_of,
    context::Scope,
    outcome::{Failure, OrFail, Saying, Sentence},
    queue::ObjectKey,
};

/// Returns the repository if it exists and the policy's namespace may use it.
pub(super) async fn repository(
    ctx: &Scope<'_>,
    key: &ObjectKey,
) -> Result<Arc<ImageRepository>, Failure> {
    let fail = |text: String, reason| {
        let error: Result<(), _> = Err(Sentence(text));
        let failure = error.saying("failed to get the referred ImageRepository").retry(reason);
        failure.expect_err("it was made of an error")
    };
    let own = &ctx.key.namespace;
    if ctx.settings.no_cross_namespace_refs && key.namespace != *own {
        let text = format!(
            "cannot access 'ImageRepository/{key}', cross-namespace references have been blocked"
        );
        return Err(fail(text, Reason::AccessDenied));
    }
    let object = match ctx.objects().image_repositories.get(key) {
        Some(Ok(object)) => object,
        Some(Err(error)) => {
            let text = format!("referenced ImageRepository cannot be read: {error}");
            return Err(fail(text, Reason::Failure));
        }
        None => {
            let name = &key.name;
            let text = format!(
                "referenced ImageRepository does not exist: \
                 ImageRepository.image.toolkit.fluxcd.io \"{name}\" not found"
            );
            return Err(fail(text, Reason::DependencyNotReady));
        }
    };
    if key.namespace == *own {
        return Ok(object);
    }
    let labels = namespace_labels(ctx, own).await.map_err(|text| fail(text, Reason::Failure))?;
    match denial(object.spec.access_from.as_ref(), &labels, key, own) {
        Some(denial) => Err(fail(format!("access denied: {denial}"), Reason::AccessDenied)),
        None => Ok(object),
    }
}

async fn namespace_labels(ctx: &Scope<'_>, name: &str) -> Result<BTreeMap<String, String>, String> {
    let namespaces: Api<Namespace> = Api::all(ctx.client.clone());
    let namespace = namespaces.get_opt(name).await.map_err(|error| text_of(&error))?;
    Ok(namespace.and_then(|namespace| namespace.metadata.labels).unwrap_or_default())
}

/// Returns why a namespace with these labels may not use the repository.
fn denial(
    access_from: Option<&AccessFrom>,
    labels: &BTreeMap<String, String>,
    key: &ObjectKey,
    namespace: &str,
) -> Option<String> {
    let Some(access_from) = access_from else {
        return Some(format!(
            "'{key}' can't be accessed due to missing ACL labels on 'accessFrom'"
        ));
    };
    let is_allowed = access_from.namespace_selectors.iter().any(|selector| {
        let mut wanted = selector.match_labels.iter().flatten();
        wanted.all(|(name, value)| labels.get(name) == Some(value))
    });
    if is_allowed {
        return None;
    }
    Some(format!("'{key}' can't be accessed due to ACL labels mismatch on namespace '{namespace}'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::image::NamespaceSelector;

    #[track_caller]
    fn check(selectors: Option<&[&[(&str, &str)]]>, expected: Option<&str>) {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let access_from = selectors.map(|selectors| AccessFrom {
            namespace_selectors: selectors
                .iter()
                .map(|pairs| NamespaceSelector { match_labels: Some(map(pairs)) })
                .collect(),
        });
        let labels = map(&[("team", "a"), ("tier", "1")]);
        let key = ObjectKey::new("images", "app");
        let denial = denial(access_from.as_ref(), &labels, &key, "apps");
        assert_eq!(denial.as_deref(), expected);
    }

    #[test]
    fn selectors_are_ored_and_their_labels_anded() {
        let missing = "'images/app' can't be accessed due to missing ACL labels on 'accessFrom'";
        let mismatch =
            "'images/app' can't be accessed due to ACL labels mismatch on namespace 'apps'";
        check(None, Some(missing));
        check(Some(&[]), Some(mismatch));
        check(Some(&[&[]]), None);
        check(Some(&[&[("team", "a"), ("tier", "1")]]), None);
        check(Some(&[&[("team", "a"), ("tier", "2")]]), Some(mismatch));
        check(Some(&[&[("team", "b")], &[("tier", "1")]]), None);
    }
}
