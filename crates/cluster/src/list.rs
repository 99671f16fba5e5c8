//! Listing and watching, page by page and within a limit.

use std::fmt::Debug;

use api::Kind;
use futures::{Stream, StreamExt as _};
use kube::{
    Api,
    api::{DynamicObject, ListParams, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;

use crate::cluster::{Cluster, known_kind};
use crate::error::Error;

/// Objects asked for at once, as many as kubectl asks for.
const PAGE: u32 = 500;
/// Twice the objects of one kind in the largest installation we know; a listing is held in memory.
const OBJECTS_MAX: usize = 200_000;
/// Seconds that a watch lasts at most; the server may end it sooner.
const WATCH_SECONDS: u32 = 290;

/// Which objects of a kind are meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection<'a> {
    /// The namespace; all of them when there is none.
    pub namespace: Option<&'a str>,
    /// The one object of this name.
    pub name: Option<&'a str>,
    /// A label selector; empty selects everything.
    pub labels: &'a str,
}

impl Selection<'_> {
    fn fields(&self) -> Option<String> {
        self.name.map(|name| format!("metadata.name={name}"))
    }

    fn labels(&self) -> Option<String> {
        (!self.labels.is_empty()).then(|| self.labels.to_owned())
    }
}

impl Cluster {
    /// Returns the objects that are meant, in the API's order: by namespace, then by name.
    pub async fn list(
        &self,
        kind: Kind,
        selection: &Selection<'_>,
    ) -> Result<Vec<DynamicObject>, Error> {
        let params = ListParams {
            label_selector: selection.labels(),
            field_selector: selection.fields(),
            ..ListParams::default()
        };
        let listed = pages(&self.api(kind, selection), params).await;
        listed.map_err(|error| known_kind(error, kind))
    }

    /// Returns every object behind `api` that `params` select.
    pub async fn list_all<K>(&self, api: &Api<K>, params: ListParams) -> Result<Vec<K>, Error>
    where
        K: Clone + Debug + DeserializeOwned,
    {
        pages(api, params).await
    }

    /// Returns the objects that are meant as they are, and then as they become, until the server ends the watch.
    pub async fn watch(
        &self,
        kind: Kind,
        selection: &Selection<'_>,
    ) -> Result<impl Stream<Item = Result<DynamicObject, Error>> + use<>, Error> {
        let params = WatchParams {
            label_selector: selection.labels(),
            field_selector: selection.fields(),
            ..WatchParams::default()
        };
        let watched = watch(&self.api(kind, selection), params).await;
        watched.map_err(|error| known_kind(error, kind))
    }

    /// Returns what is behind `api` as it is, and then as it becomes; deletions are left out.
    pub async fn watch_all<K>(
        &self,
        api: &Api<K>,
        params: WatchParams,
    ) -> Result<impl Stream<Item = Result<K, Error>> + use<K>, Error>
    where
        K: Clone + Debug + DeserializeOwned + Send + 'static,
    {
        watch(api, params).await
    }

    fn api(&self, kind: Kind, selection: &Selection<'_>) -> Api<DynamicObject> {
        match selection.namespace {
            Some(namespace) => self.of(kind, namespace),
            None => self.everywhere(kind),
        }
    }
}

async fn pages<K>(api: &Api<K>, params: ListParams) -> Result<Vec<K>, Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    let mut params = params.limit(PAGE);
    let mut objects = Vec::new();
    loop {
        let page = api.list(&params).await?;
        objects.extend(page.items);
        if objects.len() > OBJECTS_MAX {
            return Err(Error::TooMany(OBJECTS_MAX));
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(objects),
        }
    }
}

async fn watch<K>(
    api: &Api<K>,
    params: WatchParams,
) -> Result<impl Stream<Item = Result<K, Error>> + use<K>, Error>
where
    K: Clone + Debug + DeserializeOwned + Send + 'static,
{
    let params = params.timeout(WATCH_SECONDS).disable_bookmarks();
    // From version 0 the server first tells what is there.
    let events = api.watch(&params, "0").await?;
    Ok(events.filter_map(async |event| match event {
        Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => Some(Ok(object)),
        Ok(WatchEvent::Deleted(_) | WatchEvent::Bookmark(_)) => None,
        Ok(WatchEvent::Error(status)) => Some(Err(Error::Refused(status))),
        Err(error) => Some(Err(error.into())),
    }))
}
