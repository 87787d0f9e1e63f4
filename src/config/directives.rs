//! The table of directives: which are built, and who reads each.

use std::net::IpAddr;

use super::Scope;
use crate::corefile::{Diagnostic, Directive, Faults, ServerBlock, nearest, quoted};
use crate::plugin::{self, ORDER};

/// Declares [`Setting`] and the parser of each directive from one list.
macro_rules! directives {
    ($($name:literal => $variant:ident($config:ty), $parse:path;)*) => {
        /// What a directive says.
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
    "kubernetes" => Kubernetes(plugin::kubernetes::Config), plugin::kubernetes::parse;
    "forward" => Forward(plugin::forward::Config), plugin::forward::parse;
    "whoami" => Whoami(plugin::whoami::Config), plugin::whoami::parse;
}

impl Setting {
    /// The addresses of `bind`.
    pub(super) fn bind(&self) -> Option<&[IpAddr]> {
        None
    }
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
