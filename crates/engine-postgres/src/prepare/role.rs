//! The role that Meridian connects as, and what it may do.

use super::finding::Finding;
use super::judge::Plan;
use super::survey::Survey;
use crate::catalog::quoted;

/// The role by which RDS and Aurora allow replication.
pub(super) const RDS_REPLICATION: &str = "rds_replication";

pub(super) fn check(survey: &Survey, plan: &Plan) -> Vec<Finding> {
    let role = &plan.role;
    let sql_role = quoted(role);
    let replicate = if survey.is_rds {
        format!("GRANT {RDS_REPLICATION} TO {sql_role}")
    } else {
        format!("ALTER ROLE {sql_role} REPLICATION")
    };
    let Some(known) = &survey.role else {
        return vec![
            Finding::sql(
                "role",
                role,
                "there is no such role",
                [format!("CREATE ROLE {sql_role} LOGIN"), replicate],
            )
            .hint(format!(
                "a superuser makes it (from version 16 on also a role that has CREATEROLE and \
                 REPLICATION) and gives it a password, \\password {role}; the rest is for the tables' \
                 owner, who is to own it"
            )),
        ];
    };
    let mut found = Vec::new();
    if !known.can_login {
        let statement = format!("ALTER ROLE {sql_role} LOGIN");
        found.push(Finding::sql("role", role, "it may not log in", [statement]));
    }
    found.push(if known.can_replicate {
        Finding::ok("replication", role, "the role may replicate")
    } else {
        Finding::sql(
            "replication",
            role,
            "the role may not read the WAL (REPLICATION)",
            [replicate],
        )
        .hint("up to version 15 a superuser runs this; from 16 on a role that has REPLICATION and CREATEROLE, too")
    });
    if !known.can_connect {
        let statement = format!(
            "GRANT CONNECT ON DATABASE {} TO {sql_role}",
            quoted(&survey.database)
        );
        found.push(Finding::sql(
            "connect",
            role,
            "it may not connect to the database",
            [statement],
        ));
    }
    found
}
