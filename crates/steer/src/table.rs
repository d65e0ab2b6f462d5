//! A route made ready for decisions: everything that doesn't depend on the client is worked out here.

use crate::desired::Effective;
use crate::key::salt;
use crate::picture::Picture;
use crate::place::Spot;
use crate::route::{Route, RouteError};
use crate::set::RegionSet;
use crate::tier::Tier;
use meridian_health::{Service, Status};
use meridian_model::RegionName;
use meridian_model::mutation::{Mutation, active};
use meridian_topology::{By, Choice, Clients, Policy, To};

/// A route and a picture, compiled. Answers by [`Table::decide`](crate::Table::decide).
#[derive(Clone, Debug)]
pub struct Table {
    pub(crate) regions: Vec<Compiled>,
    pub(crate) root: Node,
    pub(crate) residency: Vec<(Clients, RegionSet)>,
    pub(crate) otherwise: RegionSet,
    /// Peers that this region can't reach and that nobody else can vouch for.
    pub(crate) left_out: RegionSet,
    /// Milliseconds from each region to each, row by row.
    pub(crate) round_trips_ms: Vec<f32>,
    pub(crate) own: usize,
    pub(crate) values_max: usize,
    pub(crate) uses: Uses,
}

/// What the policy has to know of a client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Uses {
    pub(crate) latency: bool,
    pub(crate) distance: bool,
    /// The client's area or country.
    pub(crate) area: bool,
    pub(crate) key: bool,
}

/// A region, as far as it matters to a route.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub(crate) name: RegionName,
    pub(crate) spot: Spot,
    pub(crate) tier: Tier,
    pub(crate) blamed: Option<Service>,
    pub(crate) salt: u64,
    /// The share of clients that it takes, of all 64-bit numbers.
    pub(crate) takes: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum Node {
    Region(usize),
    Choices { by: By, choices: Vec<Branch> },
}

/// A choice and what its policy goes by.
#[derive(Clone, Debug)]
pub(crate) struct Branch {
    pub(crate) node: Node,
    pub(crate) members: RegionSet,
    pub(crate) weight: f32,
    /// By how much its distance is multiplied.
    pub(crate) bias: f32,
    pub(crate) clients: Vec<Clients>,
    pub(crate) salt: u64,
}

impl Table {
    /// Compiles a route, with what people want of its regions
    /// ([`Desired::effective`](crate::Desired::effective)).
    ///
    /// # Errors
    /// [`RouteError`] for a route that doesn't fit the picture's regions, or makes no sense.
    pub fn compile(
        route: &Route,
        picture: &Picture,
        effective: &Effective,
    ) -> Result<Self, RouteError> {
        let mut compiler = Compiler {
            route,
            picture,
            uses: Uses::default(),
            seen: RegionSet::EMPTY,
        };
        let root = compiler.node(&route.policy)?;
        let (residency, otherwise) = compiler.residency()?;
        let all = 0..picture.regions.len();
        let compile = |region| compiled(route, picture, effective, region);
        let regions: Vec<_> = all.clone().map(compile).collect();
        let uses = Uses {
            area: compiler.uses.area || !residency.is_empty(),
            key: compiler.uses.key || regions.iter().any(|region| region.takes < u64::MAX),
            ..compiler.uses
        };
        let pairs = all
            .clone()
            .flat_map(|from| all.clone().map(move |to| (from, to)));
        let left_out = all
            .clone()
            .filter(|region| is_left_out(route, picture, *region));
        Ok(Self {
            left_out: left_out.collect(),
            regions,
            root,
            residency,
            otherwise: otherwise.and(compiler.seen),
            round_trips_ms: pairs
                .map(|(from, to)| picture.round_trip_ms(from, to))
                .collect(),
            own: picture.own,
            values_max: match route.policy.by {
                By::Multivalue => route.values_max.max(1),
                _ => 1,
            },
            uses,
        })
    }

    /// The tier that each region is in for this route, by index.
    pub fn tiers(&self) -> impl Iterator<Item = Tier> {
        self.regions.iter().map(|region| region.tier)
    }
}

fn is_left_out(route: &Route, picture: &Picture, region: usize) -> bool {
    let (status, _) = picture.status(region, &route.needs);
    !picture.has_quorum
        && region != picture.own
        && status == Status::Unhealthy
        && !active(Mutation::UnreachedPeersAnswered)
}

fn compiled(route: &Route, picture: &Picture, effective: &Effective, index: usize) -> Compiled {
    let region = &picture.regions[index];
    let (status, blamed) = picture.status(index, &route.needs);
    let is_drained = (effective.drained.contains(index) || region.health.maintenance)
        && !active(Mutation::DrainsIgnored);
    let is_first = !picture.has_quorum && index == picture.own;
    let wanted = effective.shares.get(index).copied().unwrap_or(1.0);
    let share = f64::from(region.share.min(wanted).clamp(0.0, 1.0));
    Compiled {
        name: region.name.clone(),
        spot: region.place.location.into(),
        tier: Tier::of(status, is_drained, is_first),
        blamed,
        salt: salt(region.name.as_str()),
        // A share of 1 saturates to all.
        takes: (share * u64::MAX as f64) as u64,
    }
}

struct Compiler<'a> {
    route: &'a Route,
    picture: &'a Picture,
    uses: Uses,
    seen: RegionSet,
}

impl Compiler<'_> {
    fn node(&mut self, policy: &Policy) -> Result<Node, RouteError> {
        if policy.choices.is_empty() {
            let route = self.route.name.clone();
            return Err(RouteError::NoChoices { route });
        }
        match policy.by {
            By::Latency => self.uses.latency = true,
            By::Geolocation => self.uses.area = true,
            By::Geoproximity => self.uses.distance = true,
            By::Weighted | By::Multivalue => self.uses.key = true,
            By::Failover => {}
        }
        let branches = policy.choices.iter().map(|choice| self.branch(choice));
        Ok(Node::Choices {
            by: policy.by,
            choices: branches.collect::<Result<_, _>>()?,
        })
    }

    fn branch(&mut self, choice: &Choice) -> Result<Branch, RouteError> {
        if !(-99..=99).contains(&choice.bias) {
            let route = self.route.name.clone();
            let bias = choice.bias;
            return Err(RouteError::Bias { route, bias });
        }
        let before = self.seen;
        let node = match &choice.to {
            To::Region(name) => Node::Region(self.place(name)?),
            To::Policy(policy) => self.node(policy)?,
        };
        let members = self.seen.without(before);
        let names = members.iter().map(|region| {
            let region = &self.picture.regions[region];
            salt(region.name.as_str())
        });
        Ok(Branch {
            node,
            members,
            weight: choice.weight as f32,
            bias: bias_factor(choice.bias),
            clients: choice.clients.clone(),
            // In whatever order they stand. Not the region's own salt: who is lucky with a weight
            // must not be lucky with a share.
            salt: names.fold(0x0077_6569_6768_7400, |sum, name| {
                sum ^ name.rotate_left(17)
            }),
        })
    }

    fn place(&mut self, name: &RegionName) -> Result<usize, RouteError> {
        let index = self.index(name)?;
        if self.seen.contains(index) {
            return Err(RouteError::RegionTwice {
                route: self.route.name.clone(),
                region: name.clone(),
            });
        }
        self.seen = self.seen.with(index);
        Ok(index)
    }

    fn index(&self, name: &RegionName) -> Result<usize, RouteError> {
        let index = self.picture.index(name);
        index.ok_or_else(|| RouteError::UnknownRegion {
            route: self.route.name.clone(),
            region: name.clone(),
        })
    }

    fn residency(&self) -> Result<(Vec<(Clients, RegionSet)>, RegionSet), RouteError> {
        let set = |names: &[RegionName]| -> Result<RegionSet, RouteError> {
            let allowed = names.iter().map(|name| self.index(name));
            Ok(allowed.collect::<Result<RegionSet, _>>()?.and(self.seen))
        };
        let residency = &self.route.residency;
        let rules = residency.rules.iter();
        let rules = rules.map(|(clients, names)| Ok((*clients, set(names)?)));
        let otherwise = match &residency.otherwise {
            Some(names) => set(names)?,
            None => self.seen,
        };
        Ok((rules.collect::<Result<_, _>>()?, otherwise))
    }
}

/// What a bias makes of a distance, as Amazon Route 53 defines it (Developer Guide, "Geoproximity
/// routing"): `× (1 − bias/100)` for a positive one, `÷ (1 + bias/100)` for a negative one.
fn bias_factor(bias: i8) -> f32 {
    let bias = f32::from(bias) / 100.0;
    if bias >= 0.0 {
        1.0 - bias
    } else {
        1.0 / (1.0 + bias)
    }
}
