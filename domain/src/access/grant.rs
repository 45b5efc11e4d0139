//! Rights on one pipeline, which a user can have without any role.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::role::Permission;
use super::set::{logged, set};

/// What may be done with a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum PipelineRight {
    /// Look at it and its runs.
    View,
    /// Change its draft; includes VIEW.
    Edit,
    /// Have it run; includes VIEW.
    Execute,
    /// Publish and archive it, say who else may what; includes EDIT.
    Manage,
}

set!(/// Rights on a pipeline.
    RightSet of PipelineRight);
logged!(RightSet of PipelineRight);

impl PipelineRight {
    /// Every right.
    pub const ALL: [Self; 4] = [Self::View, Self::Edit, Self::Execute, Self::Manage];

    /// The name used in events and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::View => "VIEW",
            Self::Edit => "EDIT",
            Self::Execute => "EXECUTE",
            Self::Manage => "MANAGE",
        }
    }

    /// The permission that allows it on every pipeline.
    pub fn permission(self) -> Permission {
        match self {
            Self::View => Permission::LookUp,
            Self::Execute => Permission::ExecutePipelines,
            Self::Edit | Self::Manage => Permission::Engineer,
        }
    }
}

impl RightSet {
    /// Whether one of the rights includes it.
    pub fn allows(self, right: PipelineRight) -> bool {
        match right {
            PipelineRight::View => !self.is_empty(),
            PipelineRight::Edit => self.has(PipelineRight::Edit) || self.has(PipelineRight::Manage),
            PipelineRight::Execute | PipelineRight::Manage => self.has(right),
        }
    }
}

impl fmt::Display for PipelineRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_include_lesser_ones() {
        use PipelineRight::{Edit, Execute, Manage, View};
        for (given, allowed) in
            [(View, &[View][..]), (Edit, &[View, Edit]), (Execute, &[View, Execute]), (Manage, &[View, Edit, Manage])]
        {
            let rights = RightSet::of(&[given]);
            for right in PipelineRight::ALL {
                assert_eq!(rights.allows(right), allowed.contains(&right), "{given} and {right}");
            }
        }
        assert!(PipelineRight::ALL.iter().all(|right| !RightSet::EMPTY.allows(*right)));
    }
}
