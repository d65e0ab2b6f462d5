//! Which region or regions a verb talks to: those that `meridian up` runs, or those at given URLs.

use crate::client::{Address, Api, Reply, read_token};
use crate::error::{CliError, CliResult, Exit};
use crate::everywhere::at_once;
use crate::system::{DATA_DIR, System, SystemRegion};
use clap::Args;
use meridian_topology::did_you_mean;
use serde::Deserialize;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a call may take that only asks how a region stands: one that hangs must not keep the
/// others' answers back.
const GLANCE_PATIENCE: Duration = Duration::from_secs(3);

/// How to find a running system.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Finding the system")]
pub struct Target {
    /// The data directory given to `meridian up` [default: .meridian]
    #[arg(long, value_name = "DIR", conflicts_with = "api")]
    pub data_dir: Option<PathBuf>,
    /// The URL of a region's API, instead of a data directory; may be repeated
    #[arg(long, value_name = "URL")]
    pub api: Vec<String>,
    /// The region to talk to [default: the first for one, all for several]. With an https URL: whose certificate to expect
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// The file with the API's token
    #[arg(long, value_name = "FILE", requires = "api")]
    pub token_file: Option<PathBuf>,
    /// The certificate of the authority to trust for https (PEM)
    #[arg(long, value_name = "FILE", requires = "api")]
    pub authority: Option<PathBuf>,
}

impl Target {
    /// The data directory, unless URLs are given.
    pub fn data_dir(&self) -> Option<PathBuf> {
        let given = self.data_dir.clone();
        self.api
            .is_empty()
            .then(|| given.unwrap_or_else(|| DATA_DIR.into()))
    }

    /// The regions asked for, at least one. A witness is among them only where it is named: it holds
    /// no tables.
    pub fn all(&self) -> CliResult<Vec<Api>> {
        self.all_within(PATIENCE, |region| !region.witness)
    }

    /// The regions asked for, by their names: each at a URL is asked for it, and called by the URL where
    /// it doesn't answer.
    pub fn all_by_name(&self) -> CliResult<Vec<Api>> {
        let mut apis = self.all()?;
        for api in apis.iter_mut().filter(|_| self.data_dir().is_none()) {
            let said = api.get("/v1/status").ok().and_then(|said| said.json().ok());
            said.iter().for_each(|said| api.learn_name(said));
        }
        Ok(apis)
    }

    /// What the first region that answers says, whatever that is: for what any of them can do. One
    /// that is asked for by its name is the only one. A witness is asked last.
    pub fn first_that_answers(&self, path: &str) -> CliResult<(Api, Reply)> {
        let mut apis = self.all()?;
        let named: Vec<_> = apis.iter().map(|api| api.url().to_owned()).collect();
        let others = self.all_at_a_glance()?.into_iter();
        apis.extend(others.filter(|api| !named.contains(&api.url().to_owned())));
        let mut first = None;
        for api in apis {
            match api.get(path) {
                Ok(reply) => return Ok((api, reply)),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(match first {
            Some(error) => error.into(),
            None => CliError::failure("the system has no regions"),
        })
    }

    /// The regions asked for, to see how they stand.
    pub fn all_at_a_glance(&self) -> CliResult<Vec<Api>> {
        self.all_within(GLANCE_PATIENCE, |_| true)
    }

    fn all_within(
        &self,
        patience: Duration,
        is_meant: impl Fn(&SystemRegion) -> bool,
    ) -> CliResult<Vec<Api>> {
        let addresses = match self.data_dir() {
            Some(data_dir) => self.of_system(&System::read(&data_dir)?, is_meant)?,
            None => self.of_region(self.of_urls()?, patience)?,
        };
        addresses
            .into_iter()
            .map(|address| Api::new(address, patience))
            .collect()
    }

    /// The one region asked for, or the first.
    pub fn one(&self) -> CliResult<Api> {
        if self.api.len() > 1 && self.region.is_none() {
            return Err(CliError::usage(
                "this verb talks to one region, and --api is given several times",
            )
            .hint("say which one with --region NAME, or give one --api URL"));
        }
        let first = self.all()?.into_iter().next();
        first.ok_or_else(|| CliError::failure("the system has no regions"))
    }

    /// A region that is asked for by its name is always meant.
    fn of_system(
        &self,
        system: &System,
        is_meant: impl Fn(&SystemRegion) -> bool,
    ) -> CliResult<Vec<Address>> {
        let wanted = |region: &SystemRegion| match &self.region {
            Some(name) => region.name == *name,
            None => is_meant(region),
        };
        let found: Vec<_> = system
            .regions
            .iter()
            .filter(|region| wanted(region))
            .map(|region| Address {
                url: region.api.clone(),
                region: Some(region.name.clone()),
                ..Address::default()
            })
            .collect();
        if found.is_empty() {
            let names = system.regions.iter().map(|at| at.name.as_str());
            let region = self.region.as_deref().unwrap_or_default();
            let hint = did_you_mean(region, "regions", names);
            return Err(CliError::usage(format!("there is no region {region:?}")).hint(hint));
        }
        Ok(found)
    }

    /// Of the URLs given, those at which the region listens that is asked for: each is asked which one
    /// it is. With a single one of https its certificate says it; and how the region at a single one
    /// stands may be asked where nobody answers.
    fn of_region(&self, given: Vec<Address>, patience: Duration) -> CliResult<Vec<Address>> {
        let Some(region) = &self.region else {
            return Ok(given);
        };
        let is_single = given.len() == 1;
        if is_single && given[0].url.starts_with("https:") {
            return Ok(given);
        }
        let patience = if is_single { patience } else { GLANCE_PATIENCE };
        let asked = at_once(given, |address| (who_is(&address, patience), address));
        let (mut found, mut others, mut is_silent) = (Vec::new(), Vec::new(), false);
        for (said, address) in asked {
            match said {
                Ok(name) if name == *region => found.push(address),
                Ok(name) => others.push(format!("{} is region {name}", address.url)),
                Err(_) if is_single && patience == GLANCE_PATIENCE => found.push(address),
                Err(error) if is_single => return Err(error),
                Err(error) => {
                    is_silent = true;
                    others.push(error.message().to_owned());
                }
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
        let exit = if is_silent {
            Exit::Unreachable
        } else {
            Exit::Usage
        };
        let message = if is_single {
            format!("region {region} isn't the one at the URL given")
        } else {
            format!("region {region} answers at none of the URLs given")
        };
        Err(CliError::new(exit, message).hint(others.join("; ")))
    }

    fn of_urls(&self) -> CliResult<Vec<Address>> {
        let token = self.token_file.as_deref().map(read_token).transpose()?;
        let authority_pem = self
            .authority
            .as_deref()
            .map(|path| {
                fs::read_to_string(path).map_err(|error| {
                    CliError::usage(format!("read the authority in {}", path.display()))
                        .because(&error)
                })
            })
            .transpose()?;
        let address = |url: &String| Address {
            url: url.trim_end_matches('/').to_owned(),
            region: self.region.clone(),
            token: token.clone(),
            authority_pem: authority_pem.clone(),
        };
        Ok(self.api.iter().map(address).collect())
    }
}

/// The name of the region at a URL. With https another one than is expected there fails by its
/// certificate.
fn who_is(address: &Address, patience: Duration) -> CliResult<String> {
    /// The part of how a region stands that says which it is.
    #[derive(Deserialize)]
    struct Status {
        region: String,
    }
    let api = Api::new(address.clone(), patience)?;
    let status: Status = api.get("/v1/status")?.json()?;
    Ok(status.region)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_region;
    use serde_json::json;

    /// The URL of a region that says its name to whoever asks.
    fn region(name: &'static str) -> String {
        test_region::region(move || (200, json!({"region": name})))
    }

    #[test]
    fn of_several_urls_the_one_of_the_region_asked_for_is_meant() {
        let (first, second) = (region("a"), region("b"));
        let target = |name: Option<&str>| Target {
            api: vec![first.clone(), second.clone()],
            region: name.map(str::to_owned),
            ..Target::default()
        };
        let all = target(None).all().unwrap();
        assert_eq!(all.len(), 2);
        assert!(target(None).one().is_err());
        for (name, url) in [("a", &first), ("b", &second)] {
            let one = target(Some(name)).one().unwrap();
            assert_eq!((one.url(), one.name()), (url.as_str(), name));
        }
        let names = target(None).all_by_name().unwrap();
        let names: Vec<_> = names.iter().map(Api::name).collect();
        assert_eq!(names, ["a", "b"]);
        let error = target(Some("c")).one().unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        let hint = error.hint_text().unwrap();
        assert!(hint.contains(&format!("{first} is region a")), "{hint}");
    }

    #[test]
    fn the_region_at_a_single_url_has_to_be_the_one_asked_for() {
        let url = region("a");
        let target = |name: &str, url: &str| Target {
            api: vec![url.to_owned()],
            region: Some(name.to_owned()),
            ..Target::default()
        };
        assert_eq!(target("a", &url).one().unwrap().name(), "a");
        let error = target("b", &url).one().unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.message().contains("region b"), "{error}");
        let hint = error.hint_text().unwrap();
        assert!(hint.contains(&format!("{url} is region a")), "{hint}");
        // Where nobody answers, how it stands is what is asked for.
        let nobody = target("b", "http://127.0.0.1:1");
        assert_eq!(nobody.one().unwrap_err().exit(), Exit::Unreachable);
        assert_eq!(nobody.all_at_a_glance().unwrap().len(), 1);
    }
}
