//! `meridian shift set`, `apply` and `discard`

use super::{
    Signed, apply as put_into_effect, forget, id_of, show_applied, show_differences, somewhere,
    stage,
};
use crate::client::encode;
use crate::error::{CliError, CliResult};
use crate::output::{self, Format};
use crate::target::Target;
use clap::Args;
use serde_json::{Value, json};

/// `meridian shift set`
#[derive(Debug, Args)]
#[command(
    after_help = "WANT is the share of its clients that a region takes, 0% to 100%; `drained`, which sends it nobody while another region is up; or `as-usual`. The stage waits in the region that was asked, until it is applied, discarded or that region restarts. With --output json what the region's /v1/shifts says. Exit code 1 if it is not safe, or changes nothing.\n\nExamples:\n  meridian shift set eu-west-1=25% --why \"a new release\"\n  meridian shift set eu-west-1=10% us-east-1=as-usual --name app --why \"back again\" --apply"
)]
pub struct Options {
    /// What is wanted of which region
    #[arg(value_name = "REGION=WANT", required = true, value_parser = parse_want)]
    wants: Vec<(String, String)>,
    /// For this route only
    #[arg(long, value_name = "ROUTE")]
    name: Option<String>,
    /// Why; whoever finds it later reads it
    #[arg(long, value_name = "TEXT")]
    why: String,
    #[command(flatten)]
    signed: Signed,
    /// Apply it at once
    #[arg(long)]
    apply: bool,
    /// Even if more of the capacity in use is left at once than is allowed otherwise
    #[arg(long, requires = "apply")]
    force: bool,
    #[command(flatten)]
    target: Target,
}

/// `meridian shift apply`
#[derive(Debug, Args)]
#[command(
    after_help = "Asks the region that has the stage. With --output json what it says of the change.\n\nExample:\n  meridian shift apply 5ad30d1c"
)]
pub struct ApplyOptions {
    /// The stage's id
    #[arg(value_name = "ID")]
    id: String,
    /// Even if more of the capacity in use is left at once than is allowed otherwise
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    target: Target,
}

/// `meridian shift discard`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  meridian shift discard 5ad30d1c")]
pub struct DiscardOptions {
    /// The stage's id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    target: Target,
}

fn parse_want(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((region, want)) if !region.is_empty() && !want.is_empty() => {
            Ok((region.to_owned(), want.to_owned()))
        }
        _ => Err("for example eu-west-1=25%, eu-west-1=drained or eu-west-1=as-usual".to_owned()),
    }
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let api = somewhere(&options.target)?;
    let changes: Vec<_> = options
        .wants
        .iter()
        .map(|(region, want)| json!({"region": region, "route": options.name, "want": want}))
        .collect();
    let staged = stage(&api, &changes, &options.signed.who(), &options.why)?;
    let id = id_of(&staged)?;
    if options.apply {
        let applied = put_into_effect(&api, id, options.force).inspect_err(|_| forget(&api, id))?;
        return show_applied(&api, &applied, format);
    }
    show_stage(&api, &staged, format)
}

fn show_stage(api: &crate::client::Api, staged: &Value, format: Format) -> CliResult {
    if format == Format::Json {
        return output::json(staged);
    }
    show_differences(staged)?;
    let id = id_of(staged)?;
    let refusal = &staged["refusal"];
    let Some(detail) = refusal["detail"].as_str() else {
        output::talk(&format!(
            "staged in {} as {id}; nothing has changed yet\napply it: meridian shift apply {id}",
            api.place()
        ));
        return Ok(());
    };
    let refused = CliError::failure(format!("it can't be applied: {detail}"));
    if refusal["can_be_forced"] == true {
        return Err(refused.hint(format!(
            "go in smaller steps, or force it: meridian shift apply {id} --force"
        )));
    }
    forget(api, id);
    Err(refused.hint("`meridian shift list` shows what is wanted of the regions already"))
}

pub fn apply(options: &ApplyOptions, format: Format) -> CliResult {
    let (api, _) = holder(&options.target, &options.id)?;
    let applied = put_into_effect(&api, &options.id, options.force)?;
    show_applied(&api, &applied, format)
}

pub fn discard(options: &DiscardOptions, format: Format) -> CliResult {
    let (api, staged) = holder(&options.target, &options.id)?;
    let path = format!("/v1/shifts/{}", encode(&options.id));
    api.send("DELETE", &path, &[])?.success()?;
    if format == Format::Json {
        return output::json(&staged);
    }
    output::talk(&format!("{} is discarded; nothing has changed", options.id));
    Ok(())
}

/// The region that has a stage, and the stage.
fn holder(target: &Target, id: &str) -> CliResult<(crate::client::Api, Value)> {
    let path = format!("/v1/shifts/{}", encode(id));
    let mut last = None;
    for api in target.all()? {
        match api.get(&path) {
            Ok(reply) if reply.status == 404 => {
                last = Some(reply.refusal());
            }
            Ok(reply) => return Ok((api, reply.json()?)),
            Err(error) => last = last.or_else(|| Some(error.into())),
        }
    }
    Err(last.unwrap_or_else(|| CliError::failure("the system has no regions")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_want_names_its_region() {
        let want = parse_want("eu-west-1=25%").unwrap();
        assert_eq!(want, ("eu-west-1".to_owned(), "25%".to_owned()));
        for bad in ["", "eu-west-1", "=25%", "eu-west-1="] {
            assert!(parse_want(bad).is_err(), "{bad}");
        }
    }
}
