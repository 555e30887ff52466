//! Sessions. Minting publishes nothing: gateways verify the tokens offline.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use sortie_proto::agent::{Revocation, RevokedSubject};
use sortie_proto::code::Code;
use sortie_proto::id::{AgentId, SessionId, VaultId};
use sortie_proto::token::{Claims, NotMinted, SigningKey, VaultClaim};
use sortie_proto::wire::v1;

use super::environment::{self, Asked, Made};
use super::fields::{self, Problems, show};
use super::mint::{self, Wanted};
use super::page::Page;
use super::revoke::check_room;
use super::{Context, Draft, MINT_SLACK_SECONDS, Wait, not_found, record_in, reveal};
use crate::access::{Authorized, Sessions};
use crate::database::sessions::{self as rows, Generations, NewSession, SessionRow};
use crate::database::{Reference, agents, changes};
use crate::error::{Error, Result};

/// The most sessions of one call.
const BATCH_MAX: usize = 1_000;
/// After so many signatures others get a turn.
const SIGNED_AT_ONCE: usize = 32;

/// Mints a session.
///
/// # Errors
/// `invalid_argument`, `role_missing`, `tenant_disabled`, `permission_denied`, `requirement_unmet`, or as the database's.
pub async fn mint(
    cx: &Context,
    by: &Authorized<Sessions>,
    request: v1::MintSessionRequest,
) -> Result<v1::MintedSession> {
    let spec = request.session.unwrap_or_default();
    let mut problems = Problems::default();
    let asked = environment::read(&mut problems, &cx.agents, request.environment);
    let wanted = mint::read(problems, by, vec![(String::new(), spec)])?;
    let (mut minted, made) = Box::pin(mint_all(cx, by, wanted, asked)).await?;
    let mut session = minted.pop().ok_or_else(|| Error::new(Code::Internal))?;
    if let Some(made) = made {
        session.environment = made.environment;
        for name in made.proxy_variables {
            session.environment.insert(name, session.proxy_url.clone());
        }
        session.files = made.files;
    }
    Ok(session)
}

/// Mints many sessions: all of them, or none.
///
/// # Errors
/// As [`mint`]; the fields say which session they are about. `invalid_argument` also for sessions of different vaults, if
/// an environment is asked for: there is one for all.
pub async fn mint_batch(
    cx: &Context,
    by: &Authorized<Sessions>,
    request: v1::MintSessionsRequest,
) -> Result<v1::MintSessionsResponse> {
    if !(1..=BATCH_MAX).contains(&request.sessions.len()) {
        return Err(Error::invalid("sessions", "must be 1 to 1,000 sessions"));
    }
    let specs = request.sessions.into_iter().enumerate();
    let specs = specs.map(|(at, spec)| (format!("sessions[{at}]."), spec));
    let mut problems = Problems::default();
    let asked = environment::read(&mut problems, &cx.agents, request.environment);
    let wanted = mint::read(problems, by, specs.collect())?;
    let (sessions, made) = Box::pin(mint_all(cx, by, wanted, asked)).await?;
    let made = made.unwrap_or_default();
    Ok(v1::MintSessionsResponse {
        sessions,
        environment: made.environment,
        proxy_variables: made.proxy_variables,
        files: made.files,
    })
}

async fn mint_all(
    cx: &Context,
    by: &Authorized<Sessions>,
    wanted: Vec<Wanted>,
    asked: Option<Asked>,
) -> Result<(Vec<v1::MintedSession>, Option<Made>)> {
    by.may_mint()?;
    let signer = cx.keys.signer().await?;
    let tx = cx.database.tenant(by.tenant()).await?;
    let claims = mint::resolve(&tx, by, &wanted, cx.fleet.epoch()).await?;
    let made = match &asked {
        Some(asked) => Some(environment::make(&tx, by.tenant(), &cx.agents, asked, &claims).await?),
        None => None,
    };
    let new = claims.iter().map(to_row).collect::<Result<Vec<_>>>()?;
    let ids: Vec<_> = claims.iter().map(|claims| claims.session).collect();
    let (one, first) = match (claims.as_slice(), ids.first()) {
        ([claims], _) => (Some(claims), claims.session.to_string()),
        (_, Some(first)) => (None, first.to_string()),
        (_, None) => (None, String::new()),
    };
    let draft = Draft {
        action: "session.mint",
        subject: first,
        vault: one.and_then(|claims| claims.vaults.first().map(|vault| vault.id)),
        session: one.map(|claims| claims.session),
        agent: one.map(|claims| claims.agent),
        detail: json!({ "count": ids.len(), "sessions": ids }),
    };
    // Both are on their way before the first is answered.
    tokio::try_join!(
        rows::insert(&tx, by.tenant(), &new),
        record_in(&tx, by, draft)
    )?;
    let mut minted = Vec::with_capacity(claims.len());
    for (at, claims) in claims.iter().enumerate() {
        if at % SIGNED_AT_ONCE == SIGNED_AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        minted.push(sign(&signer, claims, asked.as_ref())?);
    }
    tx.commit().await?;
    Ok((minted, made))
}

fn to_row(claims: &Claims) -> Result<NewSession<'_>> {
    let vaults = claims.vaults.iter();
    let ancestors = claims.ancestors.iter();
    Ok(NewSession {
        id: claims.session.uuid(),
        agent_id: claims.agent.uuid(),
        vaults: vaults.clone().map(|vault| vault.id.uuid()).collect(),
        tenant_generation: claims.tenant_generation,
        agent_generation: claims.agent_generation,
        vault_generations: vaults.map(|vault| vault.generation).collect(),
        user_name: claims.user.as_deref(),
        parent: claims.parent.map(SessionId::uuid),
        ancestors: ancestors.map(|session| session.uuid()).collect(),
        subjects_generation: claims.subjects_generation,
        labels: &claims.labels,
        source_cidr: claims.source.map(|source| source.to_string()),
        scope: claims.scope.iter().map(|service| service.uuid()).collect(),
        created_at: Timestamp::from_second(claims.iat).map_err(Error::internal)?,
        expires_at: Timestamp::from_second(claims.exp).map_err(Error::internal)?,
    })
}

fn sign(signer: &SigningKey, claims: &Claims, asked: Option<&Asked>) -> Result<v1::MintedSession> {
    let token = signer.mint(claims).map_err(|error| match error {
        NotMinted::TooLong => Error::invalid(
            "labels",
            "make the token too long: shorten labels, user or services",
        ),
        NotMinted::Key => Error::internal(error),
    })?;
    let end = Timestamp::from_second(claims.exp).map_err(Error::internal)?;
    let proxy_url = match asked {
        Some(asked) => reveal::text(&asked.proxy_url(&token))?,
        None => String::new(),
    };
    Ok(v1::MintedSession {
        id: claims.session.to_string(),
        token: reveal::text(&token)?,
        expires_at: end.to_string(),
        proxy_url,
        ..v1::MintedSession::default()
    })
}

/// Signs a session's token anew, with a later end.
///
/// # Errors
/// `not_found`, `failed_precondition` once it is revoked or has ended, or as the database's.
pub async fn renew(
    cx: &Context,
    by: &Authorized<Sessions>,
    request: v1::RenewSessionRequest,
) -> Result<v1::MintedSession> {
    by.may_mint()?;
    let mut problems = Problems::default();
    let ttl = problems.take("ttl_seconds", fields::ttl(request.ttl_seconds));
    problems.finish()?;
    let tx = cx.database.tenant(by.tenant()).await?;
    let row = own(
        by,
        rows::lock(&tx, by.tenant(), id(&request.session)?).await?,
    )?;
    let over = || {
        let why = "The session was revoked or has ended. Ask for a new one.";
        Error::new(Code::FailedPrecondition).because(why)
    };
    let now = Timestamp::now();
    if row.revoked_at.is_some() || row.expires_at <= now || !row.subjects_hold {
        return Err(over());
    }
    let generations = rows::generations(&tx, by.tenant(), row.agent, &row.vaults).await?;
    let generations = generations
        .filter(|generations| row.is_current(generations))
        .ok_or_else(over)?;
    if !generations.tenant_enabled {
        return Err(Error::new(Code::TenantDisabled));
    }
    let iat = now.as_second();
    let exp = iat.saturating_add(ttl.unwrap_or_default());
    let claims = claims_of(cx, by, &row, (&generations, iat, exp))?;
    let signer = cx.keys.signer().await?;
    let minted = sign(&signer, &claims, None)?;
    let end = Timestamp::from_second(exp).map_err(Error::internal)?;
    rows::extend(&tx, row.id, end).await?;
    let draft = Draft {
        action: "session.renew",
        subject: row.id.to_string(),
        session: Some(row.id),
        agent: Some(row.agent),
        detail: json!({ "expires_at": minted.expires_at }),
        ..Draft::default()
    };
    record_in(&tx, by, draft).await?;
    tx.commit().await?;
    Ok(minted)
}

fn claims_of(
    cx: &Context,
    by: &Authorized<Sessions>,
    row: &SessionRow,
    (now, iat, exp): (&Generations, i64, i64),
) -> Result<Claims> {
    let claim = |vault: &VaultId| {
        let found = now.vaults.iter().find(|(id, ..)| id == vault);
        found.map(|(id, name, generation)| VaultClaim {
            id: *id,
            name: name.clone(),
            generation: *generation,
        })
    };
    let vaults: Option<Vec<_>> = row.vaults.iter().map(claim).collect();
    let source = row.source_cidr.as_deref().map(str::parse).transpose();
    Ok(Claims {
        epoch: cx.fleet.epoch(),
        tenant: by.tenant(),
        tenant_generation: now.tenant,
        session: row.id,
        agent: row.agent,
        agent_generation: now.agent,
        vaults: vaults.ok_or_else(not_found)?,
        user: row.user.clone(),
        labels: row.labels.clone(),
        parent: row.parent,
        ancestors: row.ancestors.clone(),
        subjects_generation: row.subjects_generation,
        scope: row.scope.clone(),
        source: source.map_err(Error::internal)?,
        iat,
        exp,
    })
}

pub(super) fn id(text: &str) -> Result<SessionId> {
    text.parse().or(Err(not_found()))
}

/// A session that the caller may see: for an agent, its own.
pub(super) fn own(by: &Authorized<Sessions>, row: Option<SessionRow>) -> Result<SessionRow> {
    row.filter(|row| by.agent().is_none_or(|agent| agent == row.agent))
        .ok_or_else(not_found)
}

/// Refuses a session's tokens from now on, and waits for gateways as the request says.
///
/// # Errors
/// `invalid_argument`, `not_found`, `resource_exhausted`, or as the database's.
pub async fn revoke(
    cx: &Context,
    by: &Authorized<Sessions>,
    request: v1::RevokeSessionRequest,
) -> Result<v1::Revoked> {
    by.may_mint()?;
    let wait = Wait::read(request.wait_seconds)?;
    let tx = cx.database.tenant(by.tenant()).await?;
    let row = own(
        by,
        rows::lock(&tx, by.tenant(), id(&request.session)?).await?,
    )?;
    if row.revoked_at.is_none() {
        check_room(&tx, by).await?;
    }
    rows::revoke(&tx, row.id).await?;
    let revocation = Revocation {
        tenant: by.tenant(),
        subject: RevokedSubject::Session(row.id),
        // The entry outlives the token, by whatever clock.
        expires_at: row
            .expires_at
            .as_second()
            .saturating_add(MINT_SLACK_SECONDS),
    };
    changes::revoke(&tx, &revocation).await?;
    let draft = Draft {
        action: "session.revoke",
        subject: row.id.to_string(),
        session: Some(row.id),
        agent: Some(row.agent),
        ..Draft::default()
    };
    record_in(&tx, by, draft).await?;
    let revision = cx.publish(tx).await?;
    Ok(wait.answer(cx, (by.tenant(), None), revision).await)
}

/// Lists sessions, newest first; an agent sees its own.
///
/// # Errors
/// `invalid_argument`, `not_found` for the agent, or as the database's.
pub async fn list(
    cx: &Context,
    by: &Authorized<Sessions>,
    request: v1::ListSessionsRequest,
) -> Result<v1::ListSessionsResponse> {
    let page = Page::read(request.page)?;
    let tx = cx.database.read(by.tenant()).await?;
    let asked = match request.agent.as_str() {
        "" => None,
        text => {
            let reference = Reference::read(text, AgentId::uuid);
            let row = agents::get(&tx, by.tenant(), reference).await?;
            Some(row.ok_or_else(not_found)?.id)
        }
    };
    if let (Some(own), Some(asked)) = (by.agent(), asked)
        && own != asked
    {
        return Err(not_found());
    }
    let filter = rows::Filter {
        agent: by.agent().or(asked),
        include_ended: request.include_ended,
        before: page.after.map(Into::into),
        limit: page.limit(),
    };
    let mut rows = rows::list(&tx, by.tenant(), &filter).await?;
    tx.commit().await?;
    let next_page_token = page.cut(&mut rows, |row| row.id.uuid());
    Ok(v1::ListSessionsResponse {
        sessions: rows.into_iter().map(view).collect(),
        next_page_token,
    })
}

fn view(row: SessionRow) -> v1::SessionView {
    let labels: BTreeMap<_, _> = row.labels;
    v1::SessionView {
        id: row.id.to_string(),
        agent_id: row.agent.to_string(),
        agent: row.agent_name,
        vaults: row.vaults.iter().map(ToString::to_string).collect(),
        user: row.user.unwrap_or_default(),
        labels: labels.into_iter().collect(),
        parent: row.parent.map_or_else(String::new, |id| id.to_string()),
        created_at: row.created_at.to_string(),
        expires_at: row.expires_at.to_string(),
        revoked_at: show(row.revoked_at),
    }
}
