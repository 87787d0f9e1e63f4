//! A second way to the same facts: which objects there are, read beside the watch and told to whoever ordered it.
//!
//! Names and versions are asked for as `PartialObjectMetadata` (Kubernetes API concepts, "Fetching only metadata"), in
//! pages: an API server sends a tenth of what a list costs. One that does not know the form sends whole objects, of which
//! the same is read. What to make of it is not decided here.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::follow::{Freshness, Page};
use super::{LIST_QUIET_MAX, Orders, Relist, chunk, frame, open, request};
use crate::cluster::list::{ListReader, Piece};
use crate::cluster::object::{Audited, Event, Named, Order, Trouble};
use crate::cluster::selector::Target;

/// Metadata alone, or whole objects where the server has no other form.
const NAMES: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// Objects that are told at once, so that a page is no more to a queue than an EndpointSlice is.
const NAMED_AT_ONCE: usize = 100;

/// An order that takes longer is given up: the owner waits for its end.
pub(crate) const ORDER_TIME_MAX: Duration = Duration::from_secs(120);

/// Carries out orders, one after the other, beside a watch of the same target.
pub(super) struct Auditor {
    pub(super) client: kube::Client,
    pub(super) target: Target,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) relist: Relist,
}

impl Auditor {
    /// Until nobody orders any more.
    pub(super) async fn attend(self, orders: Orders) {
        let mut orders = orders.lock().await;
        while let Some((number, order)) = orders.recv().await {
            let done = async {
                match &order {
                    Order::Audit => self.names(number).await,
                    Order::Fetch(named) => self.fetch(number, named).await,
                    // The watch says what becomes of it.
                    Order::List => {
                        self.relist.send_replace(number);
                        Ok(())
                    }
                }
            };
            let failed = match timeout(ORDER_TIME_MAX, done).await {
                Ok(Ok(())) => continue,
                Ok(Err(trouble)) => trouble,
                Err(_) => Trouble::Unreachable("the answer does not end".into()),
            };
            self.say(number, Audited::Failed(failed)).await;
        }
        // The watch goes on without.
        std::future::pending().await
    }

    async fn names(&self, number: u64) -> Result<(), Trouble> {
        let mut page = Page::First(Freshness::Consistent);
        loop {
            let (_, uri) = request::list(&self.target, &page);
            let mut named = Vec::new();
            let end = self
                .read(uri, NAMES, |text| named.push(self.named(text)))
                .await?;
            let mut named: Vec<Named> = named.into_iter().flatten().collect();
            while !named.is_empty() {
                let rest = named.split_off(named.len().min(NAMED_AT_ONCE));
                self.say(number, Audited::Page(named.into())).await;
                named = rest;
            }
            match end.next {
                Some(token) => page = Page::Next(token),
                None => {
                    self.say(number, Audited::Complete(end.version)).await;
                    return Ok(());
                }
            }
        }
    }

    async fn fetch(&self, number: u64, all: &[Named]) -> Result<(), Trouble> {
        for named in all {
            let mut found = Vec::new();
            let uri = request::object(&self.target, named);
            self.read(uri, super::WHOLE, |text| {
                found.push(frame::object(self.target.resource, text));
            })
            .await?;
            match found.pop() {
                Some(Ok(object)) => {
                    let object = Some(Box::new(object));
                    self.say(number, Audited::Object(named.clone(), object))
                        .await;
                }
                // It is there, and nothing can be made of it.
                Some(Err(fault)) => super::skipped(&fault),
                None => self.say(number, Audited::Object(named.clone(), None)).await,
            }
        }
        self.say(number, Audited::Fetched).await;
        Ok(())
    }

    /// Reads a page of a list, the text of one item after the other.
    async fn read(
        &self,
        uri: String,
        accept: &'static str,
        mut each: impl FnMut(&[u8]),
    ) -> Result<frame::PageEnd, Trouble> {
        let mut body = open(&self.client, uri, accept)
            .await
            .map_err(Trouble::from)?;
        let (mut reader, mut page) = (ListReader::new(), None);
        while let Some(bytes) = chunk(&mut body, LIST_QUIET_MAX)
            .await
            .map_err(Trouble::from)?
        {
            let fed = reader.feed(&bytes, |piece| match piece {
                Piece::Item { text, .. } => each(text),
                Piece::Document { text, .. } => page = Some(frame::page(text)),
            });
            fed.map_err(|error| Trouble::Unreadable(error.to_string().into()))?;
        }
        match page {
            Some(page) => page.map_err(|error| Trouble::Unreadable(error.to_string().into())),
            None => Err(Trouble::Unreachable("the list broke off".into())),
        }
    }

    fn named(&self, text: &[u8]) -> Option<Named> {
        let object = frame::identity(self.target.resource, text).ok()?;
        let metadata = object.metadata();
        Some(Named {
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            version: metadata.resource_version.clone(),
        })
    }

    /// Waits while the index is busy. If there is no index any more, everything here ends.
    async fn say(&self, number: u64, audited: Audited) {
        let event = Event::Audited(self.target.resource, number, audited);
        let _ = self.events.send(event).await;
    }
}
