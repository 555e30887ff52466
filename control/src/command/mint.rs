//! From what a caller asks for to the claims of a token: what it may have is read once for a whole batch.

use std::collections::{BTreeMap, HashMap};

use ipnet::IpNet;
use jiff::Timestamp;
use sortie_proto::code::Code;
use sortie_proto::id::{AgentId, ServiceId, SessionId, VaultId};
use sortie_proto::token::{Claims, LABELS_MAX, VAULTS_MAX, VaultClaim};
use sortie_proto::wire::v1;
use uuid::Uuid;

use super::fields::{self, Problems, is_text};
use super::{lineage, require};
use crate::access::{Authorized, Sessions};
use crate::database::services::{self, ServiceName};
use crate::database::sessions::{self as rows, Mintable};
use crate::database::{Reference, Transaction};
use crate::error::{Error, Result};

/// The most services that a session may be narrowed to.
const SCOPE_MAX: usize = 32;

/// A session that is asked for, well-formed.
#[derive(Debug)]
pub(super) struct Wanted {
    /// What the paths of its fields begin with.
    pub(super) at: String,
    agent: String,
    vaults: Vec<String>,
    services: Vec<String>,
    /// Names or ids of services, at most 32.
    pub(super) require: Vec<String>,
    user: Option<String>,
    labels: BTreeMap<String, String>,
    /// The session that it comes from.
    pub(super) parent: Option<SessionId>,
    source: Option<IpNet>,
    ttl: i64,
}

/// Checks the form of what is asked for, each with the path of its fields, on top of the problems that are known.
///
/// # Errors
/// `invalid_argument` with all problems of all of them.
pub(super) fn read(
    mut problems: Problems,
    by: &Authorized<Sessions>,
    specs: Vec<(String, v1::SessionSpec)>,
) -> Result<Vec<Wanted>> {
    let wanted = specs
        .into_iter()
        .filter_map(|(at, spec)| read_one(&mut problems, by, at, spec))
        .collect();
    problems.finish()?;
    Ok(wanted)
}

fn read_one(
    problems: &mut Problems,
    by: &Authorized<Sessions>,
    at: String,
    spec: v1::SessionSpec,
) -> Option<Wanted> {
    let agent = match (by.agent(), spec.agent.as_str()) {
        (Some(own), "" | "-") => own.to_string(),
        (None, "") => {
            problems.add(
                format!("{at}agent"),
                "must name the agent that the session is for",
            );
            String::new()
        }
        (_, named) => named.to_owned(),
    };
    let mut vaults = spec.vaults.clone();
    vaults.sort_unstable();
    vaults.dedup();
    if !(1..=VAULTS_MAX).contains(&spec.vaults.len()) || vaults.len() != spec.vaults.len() {
        problems.add(format!("{at}vaults"), "must be 1 to 8 different vaults");
    }
    for (field, services) in [("services", &spec.services), ("require", &spec.require)] {
        if services.len() > SCOPE_MAX {
            problems.add(format!("{at}{field}"), "must be at most 32 services");
        }
    }
    check_required(problems, &at, &spec.require);
    let user = Some(spec.user).filter(|user| !user.is_empty());
    if user
        .as_ref()
        .is_some_and(|user| user.len() > 256 || !is_text(user))
    {
        let message = "must be at most 256 bytes without control characters";
        problems.add(format!("{at}user"), message);
    }
    problems.take(format!("{at}labels"), labels(&spec.labels));
    let source = match spec.source_cidr.as_str() {
        "" => Some(None),
        text => problems
            .take(format!("{at}source_cidr"), fields::network(text))
            .map(Some),
    };
    let parent = problems.take(format!("{at}parent"), lineage::parent(&spec.parent));
    let ttl = problems.take(format!("{at}ttl_seconds"), fields::ttl(spec.ttl_seconds));
    Some(Wanted {
        at,
        agent,
        vaults: spec.vaults,
        services: spec.services,
        require: spec.require,
        user,
        labels: spec.labels.into_iter().collect(),
        parent: parent?,
        source: source?,
        ttl: ttl?,
    })
}

fn check_required(problems: &mut Problems, at: &str, required: &[String]) {
    for (index, service) in required.iter().enumerate() {
        if fields::name(service).is_err() && service.parse::<ServiceId>().is_err() {
            let field = format!("{at}require[{index}]");
            problems.add(field, "must be a service's name or id");
        }
    }
}

fn labels(labels: &HashMap<String, String>) -> Result<(), &'static str> {
    let size: usize = labels
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte);
    if size > LABELS_MAX {
        return Err("must have at most 512 bytes, keys and values together");
    }
    let fits = |(key, value): (&String, &String)| {
        (1..=63).contains(&key.len()) && key.bytes().all(is_key) && is_text(value)
    };
    if labels.iter().all(fits) {
        Ok(())
    } else {
        Err("must have keys of letters, digits and . _ / -, and values without control characters")
    }
}

/// An agent, with the vaults that it may use right now.
struct Holder {
    head: Mintable,
    vaults: Vec<(VaultId, String, u64)>,
}

/// References to objects of one kind, split for `= ANY`.
#[derive(Default)]
pub(super) struct Split<'a> {
    pub(super) ids: Vec<Uuid>,
    pub(super) names: Vec<&'a str>,
}

impl<'a> Split<'a> {
    pub(super) fn new(mut texts: Vec<&'a str>, read: impl Fn(&'a str) -> Reference<'a>) -> Self {
        texts.sort_unstable();
        texts.dedup();
        let mut split = Self::default();
        for text in texts {
            let reference = read(text);
            split.ids.extend(reference.id);
            split.names.extend(reference.name);
        }
        split
    }
}

/// Makes the claims of what is asked for.
///
/// # Errors
/// `role_missing` if an agent has no role on a vault or the vault does not exist; `tenant_disabled`;
/// `invalid_argument`; `requirement_unmet`; or as the database's.
pub(super) async fn resolve(
    tx: &Transaction,
    by: &Authorized<Sessions>,
    wanted: &[Wanted],
    epoch: u64,
) -> Result<Vec<Claims>> {
    let agents = wanted.iter().map(|wanted| wanted.agent.as_str()).collect();
    let agents = Split::new(agents, |text| Reference::read(text, AgentId::uuid));
    let vaults = wanted.iter().flat_map(|wanted| &wanted.vaults);
    let vaults = Split::new(vaults.map(String::as_str).collect(), |text| {
        Reference::read(text, VaultId::uuid)
    });
    let found = rows::mintable(
        tx,
        by.tenant(),
        (&agents.ids, &agents.names),
        (&vaults.ids, &vaults.names),
    )
    .await?;
    if found.iter().any(|row| !row.tenant_enabled) {
        return Err(Error::new(Code::TenantDisabled));
    }
    let holders = holders(found);
    let names: HashMap<&str, AgentId> = holders
        .iter()
        .map(|(id, holder)| (holder.head.agent_name.as_str(), *id))
        .collect();
    let scope = scope(tx, by, wanted, &holders).await?;
    let mut problems = Problems::default();
    let mut claims = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let id = wanted.agent.parse().ok();
        let id = id.or_else(|| names.get(wanted.agent.as_str()).copied());
        let id = id.filter(|id| by.agent().is_none_or(|own| own == *id));
        let Some(holder) = id.and_then(|id| holders.get(&id)) else {
            problems.add(
                format!("{}agent", wanted.at),
                "is not an agent that this key may mint for",
            );
            continue;
        };
        let mut one = claim(wanted, holder, epoch)?;
        one.tenant = by.tenant();
        one.scope = narrow(&mut problems, wanted, &one, &scope);
        claims.push(one);
    }
    if claims.len() == wanted.len() {
        lineage::extend(tx, by, &mut problems, (wanted, &mut claims)).await?;
    }
    check_users(&mut problems, (wanted, &mut claims), &holders);
    problems.finish()?;
    require::check(tx, by.tenant(), wanted, &claims).await?;
    Ok(claims)
}

fn holders(found: Vec<Mintable>) -> HashMap<AgentId, Holder> {
    let mut holders: HashMap<AgentId, Holder> = HashMap::new();
    for mut row in found {
        let vault = row.vault.take();
        let holder = holders.entry(row.agent).or_insert_with(|| Holder {
            head: row,
            vaults: Vec::new(),
        });
        holder.vaults.extend(vault);
    }
    holders
}

fn claim(wanted: &Wanted, holder: &Holder, epoch: u64) -> Result<Claims> {
    let mut vaults: Vec<VaultClaim> = Vec::with_capacity(wanted.vaults.len());
    for (index, text) in wanted.vaults.iter().enumerate() {
        let reference = Reference::read(text, VaultId::uuid);
        let found = holder.vaults.iter().find(|(id, name, _)| {
            reference.id == Some(id.uuid()) || reference.name == Some(name.as_str())
        });
        let (id, name, generation) = found.ok_or_else(|| {
            let agent = &holder.head.agent_name;
            // It stands in a command to copy: what cannot be a vault's name is not repeated there.
            let named = reference.name.filter(|name| fields::name(name).is_ok());
            let named = named.unwrap_or("VAULT");
            let message = format!(
                "is no vault that the agent {agent} has a role on: \
                 `sortie grant set {agent} --vault {named} --role user`"
            );
            let field = format!("{}vaults[{index}]", wanted.at);
            Error::invalid(field, message).with_code(Code::RoleMissing)
        })?;
        if vaults.iter().any(|vault| vault.id == *id) {
            let field = format!("{}vaults", wanted.at);
            return Err(Error::invalid(field, "must be 1 to 8 different vaults"));
        }
        vaults.push(VaultClaim {
            id: *id,
            name: name.clone(),
            generation: *generation,
        });
    }
    let iat = Timestamp::now().as_second();
    Ok(Claims {
        epoch,
        tenant: sortie_proto::id::TenantId::from(Uuid::nil()),
        tenant_generation: holder.head.tenant_generation,
        session: SessionId::generate(),
        agent: holder.head.agent,
        agent_generation: holder.head.agent_generation,
        vaults,
        user: wanted.user.clone(),
        labels: wanted.labels.clone(),
        parent: None,
        ancestors: Vec::new(),
        subjects_generation: holder.head.subjects_generation,
        scope: Vec::new(),
        source: wanted.source,
        iat,
        exp: iat.saturating_add(wanted.ttl),
    })
}

/// Refuses a user where the agent is no delegate. A token of nobody's needs no generation of the tenant's subjects.
fn check_users(
    problems: &mut Problems,
    (wanted, claims): (&[Wanted], &mut [Claims]),
    holders: &HashMap<AgentId, Holder>,
) {
    for (wanted, claims) in wanted.iter().zip(claims) {
        let holder = holders.get(&claims.agent);
        if claims.user.is_some() && holder.is_none_or(|holder| !holder.head.delegate) {
            let field = format!("{}user", wanted.at);
            problems.add(field, "needs an agent that is a delegate");
        }
        if claims.user.is_none() && claims.parent.is_none() {
            claims.subjects_generation = 0;
        }
    }
}

async fn scope(
    tx: &Transaction,
    by: &Authorized<Sessions>,
    wanted: &[Wanted],
    holders: &HashMap<AgentId, Holder>,
) -> Result<Vec<ServiceName>> {
    let asked = wanted.iter().flat_map(|wanted| &wanted.services);
    let asked = Split::new(asked.map(String::as_str).collect(), |text| {
        Reference::read(text, ServiceId::uuid)
    });
    if asked.ids.is_empty() && asked.names.is_empty() {
        return Ok(Vec::new());
    }
    let vaults = holders.values().flat_map(|holder| &holder.vaults);
    let vaults: Vec<Uuid> = vaults.map(|(id, ..)| id.uuid()).collect();
    services::named(tx, by.tenant(), &vaults, (&asked.ids, &asked.names)).await
}

/// The services that a session is narrowed to. One that does not exist is an error, never "no narrowing".
fn narrow(
    problems: &mut Problems,
    wanted: &Wanted,
    claims: &Claims,
    known: &[ServiceName],
) -> Vec<ServiceId> {
    let mut scope = Vec::new();
    for (at, text) in wanted.services.iter().enumerate() {
        let reference = Reference::read(text, ServiceId::uuid);
        let before = scope.len();
        let of_session = known
            .iter()
            .filter(|known| claims.vaults.iter().any(|vault| vault.id == known.vault));
        scope.extend(
            of_session
                .filter(|known| {
                    reference.id == Some(known.id.uuid())
                        || reference.name == Some(known.name.as_str())
                })
                .map(|known| known.id),
        );
        if scope.len() == before {
            let field = format!("{}services[{at}]", wanted.at);
            problems.add(field, "is not a service of the session's vaults");
        }
    }
    scope.sort_unstable();
    scope.dedup();
    scope
}
