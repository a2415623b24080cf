//! Rules ready for engines: devices with the same rules share them, of which a gateway has thousands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::rule::Rule;

/// The rules of one device.
#[derive(Clone, Debug)]
pub struct DeviceRules {
    /// In file order, ready for an engine.
    pub rules: Arc<[Rule]>,
    /// Of each, which of [`Pack::rules`](super::Pack::rules) it was made of.
    pub source: Arc<[usize]>,
}

/// What was compiled so far: of which rules, and with which limits.
#[derive(Debug, Default)]
pub(super) struct Compiled(Mutex<HashMap<Source, Vec<Arc<[Rule]>>>>);

type Source = Arc<[usize]>;

impl Compiled {
    /// These, or the same ones that were compiled before.
    pub(super) fn share(&self, rules: Vec<Rule>, source: Vec<usize>) -> DeviceRules {
        // Whoever panicked meanwhile: an entry is added as a whole.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let source: Source =
            known.get_key_value(&source[..]).map_or_else(|| source.into(), |(source, _)| source.clone());
        let with_limits = known.entry(source.clone()).or_default();
        let rules = with_limits.iter().find(|one| one[..] == rules[..]).cloned().unwrap_or_else(|| {
            let rules: Arc<[Rule]> = rules.into();
            with_limits.push(rules.clone());
            rules
        });
        DeviceRules { rules, source }
    }
}
