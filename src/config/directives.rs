//! The table of directives: which are built, and who reads each.

use std::net::IpAddr;
use std::time::Duration;

use super::Scope;
use crate::corefile::{Diagnostic, Directive, Faults, ServerBlock, nearest, quoted};
use crate::ops::{Endpoint, EndpointKind};
use crate::plugin::{self, ORDER};

/// Declares [`Setting`] and the parser of each directive from one list.
macro_rules! directives {
    ($($name:literal => $variant:ident($config:ty), $parse:path;)*) => {
        /// What a directive says.
        #[expect(clippy::large_enum_variant, reason = "a handful of them, read when a generation is built")]
        #[derive(Debug, Clone, PartialEq)]
        pub enum Setting {
            $(#[doc = concat!("`", $name, "`")] $variant($config),)*
        }

        impl Setting {
            /// The directive.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Setting::$variant(_) => $name,)*
                }
            }
        }

        const BUILT: &[&str] = &[$($name),*];

        /// Reads all occurrences of a directive; the outer `None` says that it is not built.
        fn read(name: &str, occurrences: &[&Directive], scope: &Scope<'_>, faults: &Faults) -> Option<Option<Setting>> {
            match name {
                $($name => Some($parse(occurrences, scope, faults).map(Setting::$variant)),)*
                _ => None,
            }
        }
    };
}

directives! {
    "bufsize" => Bufsize(plugin::bufsize::Config), plugin::bufsize::parse;
    "reload" => Reload(plugin::reload::Config), plugin::reload::parse;
    "bind" => Bind(plugin::bind::Config), plugin::bind::parse;
    "debug" => Debug(plugin::debug::Config), plugin::debug::parse;
    "ready" => Ready(plugin::ready::Config), plugin::ready::parse;
    "health" => Health(plugin::health::Config), plugin::health::parse;
    "prometheus" => Prometheus(plugin::prometheus::Config), plugin::prometheus::parse;
    "errors" => Errors(plugin::errors::Config), plugin::errors::parse;
    "log" => Log(plugin::log::Config), plugin::log::parse;
    "loadbalance" => Loadbalance(plugin::loadbalance::Config), plugin::loadbalance::parse;
    "cache" => Cache(plugin::cache::Config), plugin::cache::parse;
    "kubernetes" => Kubernetes(plugin::kubernetes::Config), plugin::kubernetes::parse;
    "loop" => Loop(plugin::loop_guard::Config), plugin::loop_guard::parse;
    "forward" => Forward(plugin::forward::Config), plugin::forward::parse;
    "whoami" => Whoami(plugin::whoami::Config), plugin::whoami::parse;
}

impl Setting {
    /// Whether it answers or changes answers: whether it stands in the chains of its block.
    pub fn is_handler(&self) -> bool {
        match self {
            Setting::Reload(_)
            | Setting::Bind(_)
            | Setting::Debug(_)
            | Setting::Ready(_)
            | Setting::Health(_) => false,
            Setting::Bufsize(_)
            | Setting::Prometheus(_)
            | Setting::Errors(_)
            | Setting::Log(_)
            | Setting::Loadbalance(_)
            | Setting::Cache(_)
            | Setting::Kubernetes(_)
            | Setting::Loop(_)
            | Setting::Forward(_)
            | Setting::Whoami(_) => true,
        }
    }

    /// The addresses of `bind`.
    pub(super) fn bind(&self) -> Option<&[IpAddr]> {
        match self {
            Setting::Bind(config) => Some(&config.addresses),
            _ => None,
        }
    }

    /// How long `health` wants to be lame.
    pub fn lameduck(&self) -> Option<Duration> {
        match self {
            Setting::Health(config) => Some(config.lameduck),
            _ => None,
        }
    }

    /// The operator's endpoint that this asks for.
    pub fn endpoint(&self) -> Option<Endpoint> {
        let (kind, address) = match self {
            Setting::Health(config) => (EndpointKind::Health, &config.address),
            Setting::Ready(config) => (EndpointKind::Ready(config.monitor), &config.address),
            Setting::Prometheus(config) => (EndpointKind::Metrics, &config.address),
            _ => return None,
        };
        Some(Endpoint {
            kind,
            address: address.clone(),
        })
    }

    /// Interval and jitter of `reload`.
    pub fn reload(&self) -> Option<(Duration, Duration)> {
        match self {
            Setting::Reload(config) => Some((config.interval, config.jitter)),
            _ => None,
        }
    }
}

/// Whether a directive of this name does something here.
pub fn is_built(name: &str) -> bool {
    BUILT.contains(&name)
}

/// Reads the directives of a server block in the order in which CoreDNS sets them up.
pub(super) fn settings(block: &ServerBlock, scope: &Scope<'_>, faults: &Faults) -> Vec<Setting> {
    for directive in &block.directives {
        if !ORDER.contains(&directive.name.text.as_str()) {
            let message = format!("Unknown directive {}", quoted(&directive.name.text));
            let hint = nearest(&directive.name.text, ORDER);
            faults.push(Diagnostic::error(message, directive.name.span).with_nearest(hint));
        }
    }
    let mut settings = Vec::new();
    for name in ORDER {
        let occurrences: Vec<&Directive> = block.occurrences(name).collect();
        let Some(first) = occurrences.first() else {
            continue;
        };
        match read(name, &occurrences, scope, faults) {
            Some(setting) => settings.extend(setting),
            None => {
                let message = format!("directive {} is known but not supported yet", quoted(name));
                faults.push(Diagnostic::error(message, first.name.span));
            }
        }
    }
    settings
}
