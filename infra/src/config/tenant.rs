//! Section `[tenant]`.

use lotline_domain::id::{SiteId, TenantId};
use serde::{Deserialize, Serialize};

/// Whose plants these are. Becomes events of the tenant's own stream with access control.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantSection {
    /// Part of topic names.
    pub id: TenantId,
    /// Plants: the streams that commands may go to.
    pub sites: Vec<SiteId>,
}

impl Default for TenantSection {
    fn default() -> Self {
        Self {
            id: TenantId::new("dairy").expect("invariant: the default follows the rule"),
            sites: vec![SiteId::new("north").expect("invariant: the default follows the rule")],
        }
    }
}
