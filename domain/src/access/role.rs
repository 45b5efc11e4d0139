//! Roles, and which role grants which permission: the table of the product, as code.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::set::{logged, set};

/// What somebody is to a tenant, or to one of its sites. Several roles add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Role {
    /// Looks at dashboards, lots and runs.
    Viewer,
    /// Works at the line.
    Operator,
    /// Connects devices, defines signals and pipelines.
    Engineer,
    /// Runs the plant.
    Manager,
    /// Examines what happened.
    Auditor,
    /// Manages users, keys and sites.
    Admin,
}

/// What roles grant: the columns of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// Look at dashboards, lots and runs.
    LookUp,
    /// Give commands on lots, runs and QC.
    Decide,
    /// Have pipelines run.
    ExecutePipelines,
    /// Change devices, signals and pipelines.
    Engineer,
    /// Use the validator: audit trail, trace graph, reports, compliance.
    Validate,
    /// Administer the tenant or the site.
    Administer,
    /// Release what is on hold.
    Release,
}

set!(/// Roles that add up.
    RoleSet of Role);
logged!(RoleSet of Role);
set!(/// Permissions together.
    PermissionSet of Permission);

/// Which role grants which permissions. Everything that asks goes through this table.
///
/// | role | LOOK_UP | DECIDE | EXECUTE_PIPELINES | ENGINEER | VALIDATE | ADMINISTER | RELEASE |
/// |---|:-:|:-:|:-:|:-:|:-:|:-:|:-:|
/// | VIEWER | yes | | | | | | |
/// | OPERATOR | yes | yes | yes | | | | |
/// | ENGINEER | yes | | yes | yes | | | |
/// | MANAGER | yes | yes | yes | yes | yes | | yes |
/// | AUDITOR | yes | | | | yes | | |
/// | ADMIN | yes | yes | yes | yes | yes | yes | yes |
pub const GRANTS: [(Role, PermissionSet); 6] = {
    use Permission::{Administer, Decide, Engineer, ExecutePipelines, LookUp, Release, Validate};
    [
        (Role::Viewer, PermissionSet::of(&[LookUp])),
        (Role::Operator, PermissionSet::of(&[LookUp, Decide, ExecutePipelines])),
        (Role::Engineer, PermissionSet::of(&[LookUp, ExecutePipelines, Engineer])),
        (Role::Manager, PermissionSet::of(&[LookUp, Decide, ExecutePipelines, Engineer, Validate, Release])),
        (Role::Auditor, PermissionSet::of(&[LookUp, Validate])),
        (Role::Admin, PermissionSet::of(&[LookUp, Decide, ExecutePipelines, Engineer, Validate, Administer, Release])),
    ]
};

impl Role {
    /// Every role, in the order of the table.
    pub const ALL: [Self; 6] =
        [Self::Viewer, Self::Operator, Self::Engineer, Self::Manager, Self::Auditor, Self::Admin];

    /// The name used in events and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "VIEWER",
            Self::Operator => "OPERATOR",
            Self::Engineer => "ENGINEER",
            Self::Manager => "MANAGER",
            Self::Auditor => "AUDITOR",
            Self::Admin => "ADMIN",
        }
    }

    /// The role of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

impl Permission {
    /// Every permission, in the order of the table.
    pub const ALL: [Self; 7] = [
        Self::LookUp,
        Self::Decide,
        Self::ExecutePipelines,
        Self::Engineer,
        Self::Validate,
        Self::Administer,
        Self::Release,
    ];

    /// The name that refusals show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LookUp => "LOOK_UP",
            Self::Decide => "DECIDE",
            Self::ExecutePipelines => "EXECUTE_PIPELINES",
            Self::Engineer => "ENGINEER",
            Self::Validate => "VALIDATE",
            Self::Administer => "ADMINISTER",
            Self::Release => "RELEASE",
        }
    }
}

impl RoleSet {
    /// All that the roles grant together.
    pub fn permissions(self) -> PermissionSet {
        let granted = GRANTS.iter().filter(|(role, _)| self.has(*role));
        granted.fold(PermissionSet::EMPTY, |all, (_, permissions)| all.and(*permissions))
    }

    /// Whether one of the roles grants it.
    pub fn grants(self, permission: Permission) -> bool {
        self.permissions().has(permission)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the product's page has it.
    const PRODUCT: &str = "
| role | dashboards, lot and run look-up | commands on lots, runs, QC | devices, signals, pipelines | validator: audit trail, trace graph, reports, compliance | administration |
|---|:-:|:-:|:-:|:-:|:-:|
| VIEWER | yes | – | – | – | – |
| OPERATOR | yes | yes | execute pipelines | – | – |
| ENGINEER | yes | – | yes | – | – |
| MANAGER | yes | yes | yes | yes | – |
| AUDITOR | yes | – | – | yes | – |
| ADMIN | yes | yes | yes | yes | yes |
";

    #[test]
    fn the_table_is_the_products() {
        let columns: [&[Permission]; 5] = [
            &[Permission::LookUp],
            &[Permission::Decide],
            &[Permission::Engineer, Permission::ExecutePipelines],
            &[Permission::Validate],
            &[Permission::Administer],
        ];
        let mut seen = Vec::new();
        for line in PRODUCT.trim().lines().skip(2) {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let role = Role::parse(cells[0]).unwrap();
            let granted = cells[1..].iter().zip(columns).flat_map(|(cell, column)| match *cell {
                "yes" => column.to_vec(),
                "execute pipelines" => vec![Permission::ExecutePipelines],
                "–" => vec![],
                other => panic!("{other}"),
            });
            let mut granted: PermissionSet = granted.collect();
            // The page says who runs holds: the manager. That is to decide about lots and to answer for what is true of them.
            if granted.has(Permission::Decide) && granted.has(Permission::Validate) {
                granted = granted.and(PermissionSet::of(&[Permission::Release]));
            }
            assert_eq!(RoleSet::of(&[role]).permissions(), granted, "{role}");
            seen.push(role);
        }
        assert_eq!(seen, Role::ALL);
        assert_eq!(GRANTS.map(|(role, _)| role), Role::ALL);
    }

    #[test]
    fn roles_add_up() {
        let lead = RoleSet::of(&[Role::Operator, Role::Engineer]);
        assert!(lead.grants(Permission::Decide) && lead.grants(Permission::Engineer));
        assert!(!lead.grants(Permission::Validate) && !lead.grants(Permission::Administer));
        assert!(!RoleSet::EMPTY.grants(Permission::LookUp));
    }

    #[test]
    fn a_set_is_a_sorted_list_of_names() {
        let set: RoleSet = serde_json::from_str(r#"["ADMIN","VIEWER","ADMIN"]"#).unwrap();
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"["VIEWER","ADMIN"]"#);
        assert!(set.covers(RoleSet::of(&[Role::Admin])) && !RoleSet::of(&[Role::Admin]).covers(set));
        assert!(serde_json::from_str::<RoleSet>(r#"["OWNER"]"#).is_err());
    }
}
