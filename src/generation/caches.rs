//! What a cache is given besides its stanza: counters, and zones that it must leave alone.

use std::sync::Arc;

use super::Process;
use crate::config::listen::ListenAddress;
use crate::config::{Block, Setting};
use crate::counting::Caching;
use crate::dns::{Name, Zones};
use crate::plugin::cache::{self, Counters, Entries, Store};
use crate::telemetry::{CacheEntries, CacheMetrics};

/// The counters of a cache on one listener.
pub(super) fn cache_counters(
    config: &cache::Config,
    store: &Arc<Store>,
    address: ListenAddress,
    process: &Process,
) -> Arc<dyn Counters> {
    let metrics = cache_metrics(config, address, process);
    let weak = Arc::downgrade(store);
    metrics.count_entries_with(Box::new(move || {
        let Entries {
            success,
            denial,
            octets,
        } = weak.upgrade()?.entries();
        Some(CacheEntries {
            success,
            denial,
            octets,
        })
    }));
    Arc::new(Caching(metrics))
}

pub(super) fn cache_metrics(
    config: &cache::Config,
    address: ListenAddress,
    process: &Process,
) -> Arc<CacheMetrics> {
    let zones: Vec<String> = config.zones.iter().map(Name::to_string).collect();
    process
        .metrics
        .cache(&address.to_string(), &zones.join(","), "")
}

/// Whether two blocks keep the same answers: for the same zones, by the same rules, from the same plugins below.
pub(super) fn keeps_alike(old: &Block, new: &Block) -> bool {
    let from_cache = |block: &Block| -> Vec<Setting> {
        let settings = block.settings.iter();
        settings
            .skip_while(|setting| setting.name() != "cache")
            .cloned()
            .collect()
    };
    let alike = |(old, new): (&Setting, &Setting)| match (old, new) {
        (Setting::Cache(old), Setting::Cache(new)) => old.keeps_like(new),
        (old, new) => old == new,
    };
    let (old_settings, new_settings) = (from_cache(old), from_cache(new));
    old.keys == new.keys
        && old_settings.len() == new_settings.len()
        && old_settings.iter().zip(&new_settings).all(alike)
}

/// The zones of a cluster that the block answers for without asking anybody: their view is the cache.
pub(super) fn answered_alone(block: &Block) -> Zones {
    let clusters = block.settings.iter().filter_map(|setting| match setting {
        Setting::Kubernetes(config) => Some(&config.options),
        _ => None,
    });
    let zones = clusters.flat_map(|options| {
        let passes = |zone: &Name| {
            options
                .fallthrough
                .iter()
                .any(|through| zone.is_within(through) || through.is_within(zone))
        };
        options
            .zones
            .iter()
            .copied()
            .filter(move |zone| !passes(zone))
    });
    Zones::new(zones)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use crate::corefile::{Location, Memory};

    fn block(directives: &str) -> Block {
        let world = Memory::new().file("Corefile", format!("a.test {{\n{directives}\n}}"));
        let config = load(&world, &Location::Default, 53).config;
        config.expect("a sound Corefile").blocks.remove(0)
    }

    #[test]
    fn answers_are_taken_over_if_they_would_be_given_again() {
        let old = block("errors\ncache 30\nforward . 127.0.0.1");
        for (fact, new, expected) in [
            (
                "nothing changed",
                "errors\ncache 30\nforward . 127.0.0.1",
                true,
            ),
            (
                "something above",
                "log\ncache 30\nforward . 127.0.0.1",
                true,
            ),
            (
                "other rules",
                "errors\ncache 60\nforward . 127.0.0.1",
                false,
            ),
            (
                "another bound",
                "errors\ncache 30 {\n max_memory 2M\n}\nforward . 127.0.0.1",
                false,
            ),
            (
                "the same given otherwise",
                "errors\ncache 30 {\n serve_stale\n prefetch 2\n keepttl\n}\nforward . 127.0.0.1",
                true,
            ),
            (
                "one plugin more",
                "errors\ncache 30\nforward . 127.0.0.1\nwhoami",
                false,
            ),
            (
                "another upstream",
                "errors\ncache 30\nforward . 127.0.0.2",
                false,
            ),
        ] {
            assert_eq!(keeps_alike(&old, &block(new)), expected, "{fact}");
        }
    }
}
