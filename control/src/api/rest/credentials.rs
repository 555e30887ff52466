//! `/v1/tenants/{tenant}/vaults/{vault}/credentials`

use std::fmt;

use axum::extract::{Request, State as Shared};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};
use sortie_proto::code::Code;
use sortie_proto::wire::v1;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::extract::{Caller, PageQuery, Revoke, optional};
use super::{Answer, Json, Path, Query, split_verb};
use crate::access::{Manage, Read};
use crate::api::State;
use crate::api::problem::Problem;
use crate::command::credentials;
use crate::error::Error;

/// Bytes of a value on their way to be sealed: zeroed on drop, never printed.
struct Value(Zeroizing<Vec<u8>>);

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(…)")
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
                Ok(Value(Zeroizing::new(text.as_bytes().to_vec())))
            }

            fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Value, E> {
                Ok(Value(Zeroizing::new(text.into_bytes())))
            }
        }

        deserializer
            .deserialize_str(Text)
            .or(Err(D::Error::custom("a value that is not text")))
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PutCredential {
    /// The value, 8 to 16,384 bytes. Never answered.
    #[schema(value_type = Option<String>, write_only)]
    value: Option<Value>,
    /// The value in base64 (RFC 4648, 4), in the place of `value`.
    #[schema(value_type = Option<String>, write_only)]
    value_base64: Option<Value>,
    /// Where the value may be sent: 1 to 32.
    #[serde(default)]
    destinations: Vec<v1::DestinationSpec>,
    /// What stands for it in a request; `__NAME__` if it is not given.
    #[serde(default)]
    placeholder: String,
}

impl PutCredential {
    fn take_value(&mut self) -> Result<Vec<u8>, Error> {
        match (self.value.take(), self.value_base64.take()) {
            (Some(mut value), None) => Ok(std::mem::take(&mut *value.0)),
            (None, Some(value)) => BASE64_STANDARD
                .decode(value.0.as_slice())
                .or(Err(Error::invalid("value_base64", "must be base64"))),
            (Some(_), Some(_)) => Err(Error::invalid(
                "value_base64",
                "must not be given beside `value`",
            )),
            (None, None) => Ok(Vec::new()),
        }
    }
}

/// Adds a credential, or a new version of it.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/vaults/{vault}/credentials/{credential}",
    operation_id = "PutCredential", tag = "credentials", request_body = PutCredential,
    responses((status = 200, body = v1::CredentialView)))]
pub(super) async fn put(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, vault, name)): Path<(String, String, String)>,
    Json(mut body): Json<PutCredential>,
) -> Answer<v1::CredentialView> {
    let by = caller.may::<Manage>(&tenant).await?;
    let request = v1::PutCredentialRequest {
        tenant,
        vault,
        name,
        value: body.take_value().map_err(Problem::from)?,
        destinations: body.destinations,
        placeholder: body.placeholder,
    };
    Ok(Json(credentials::put(&state, &by, request).await?))
}

/// Describes a credential, without its value.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/vaults/{vault}/credentials/{credential}",
    operation_id = "GetCredential", tag = "credentials", responses((status = 200, body = v1::CredentialView)))]
pub(super) async fn get(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, vault, credential)): Path<(String, String, String)>,
) -> Answer<v1::CredentialView> {
    let by = caller.may::<Read>(&tenant).await?;
    let request = v1::GetCredentialRequest {
        tenant,
        vault,
        credential,
    };
    Ok(Json(credentials::get(&state, &by, request).await?))
}

/// Lists the credentials of a vault, without their values.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/vaults/{vault}/credentials", operation_id = "ListCredentials",
    tag = "credentials", params(PageQuery), responses((status = 200, body = v1::ListCredentialsResponse)))]
pub(super) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, vault)): Path<(String, String)>,
    Query(query): Query<PageQuery>,
) -> Answer<v1::ListCredentialsResponse> {
    let by = caller.may::<Read>(&tenant).await?;
    let request = v1::ListCredentialsRequest {
        tenant,
        vault,
        page: Some(query.page()),
    };
    Ok(Json(credentials::list(&state, &by, request).await?))
}

/// Deletes a credential with all its versions.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/vaults/{vault}/credentials/{credential}",
    operation_id = "DeleteCredential", tag = "credentials", responses((status = 200, body = v1::Deleted)))]
pub(super) async fn delete(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, vault, credential)): Path<(String, String, String)>,
) -> Answer<v1::Deleted> {
    let by = caller.may::<Manage>(&tenant).await?;
    let request = v1::DeleteCredentialRequest {
        tenant,
        vault,
        credential,
    };
    Ok(Json(credentials::delete(&state, &by, request).await?))
}

/// Ends the use of a credential: its versions so far are erased, and what needs it is refused until it is put again.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/vaults/{vault}/credentials/{credential}:revoke",
    operation_id = "RevokeCredential", tag = "credentials", request_body = Option<Revoke>,
    responses((status = 200, body = v1::Revoked)))]
pub(super) async fn revoke(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, vault, credential)): Path<(String, String, String)>,
    Json(body): Json<Revoke>,
) -> Answer<v1::Revoked> {
    let by = caller.may::<Manage>(&tenant).await?;
    let request = v1::RevokeCredentialRequest {
        tenant,
        vault,
        credential,
        wait_seconds: body.wait_seconds,
    };
    let revoked = Box::pin(credentials::revoke(&state, &by, request)).await?;
    Ok(Json(revoked))
}

/// `…/{credential}:revoke`
pub(super) async fn verb(
    state: Shared<State>,
    caller: Caller,
    Path((tenant, vault, segment)): Path<(String, String, String)>,
    request: Request,
) -> Answer<v1::Revoked> {
    match split_verb(&segment) {
        Some((credential, "revoke")) => {
            let body = optional(&state.0, request).await?;
            let path = Path((tenant, vault, credential.to_owned()));
            Box::pin(revoke(state, caller, path, body)).await
        }
        Some(_) => Err(Code::NotFound.into()),
        None => Err(Code::MethodNotAllowed.into()),
    }
}
