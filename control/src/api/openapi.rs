//! The description of the REST API (OpenAPI 3.1). Handlers say what is theirs; what holds for all of them is added here.

use sortie_proto::code::Code;
use utoipa::OpenApi as _;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{InfoBuilder, OpenApi, Ref, RefOr, Required, ResponseBuilder};

use super::problem::{FieldProblem, Problem};

#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(Problem, FieldProblem)))]
struct Shared;

const DESCRIPTION: &str = "The administration of Sortie. `{tenant}` takes an id, a name, or `-` for the caller's own \
    tenant; `{vault}`, `{agent}`, `{service}` and `{credential}` take an id or a name. Times are RFC 3339. \
    A credential's value goes in and never comes out.";

/// Adds what all operations share: path parameters, errors, and the key.
#[must_use]
pub fn complete(mut document: OpenApi) -> OpenApi {
    document.merge(Shared::openapi());
    document.info = InfoBuilder::new()
        .title("Sortie")
        .version("1")
        .description(Some(DESCRIPTION))
        .build();
    for (path, item) in &mut document.paths.paths {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.patch,
        ];
        for operation in operations.into_iter().flatten() {
            describe(path, operation);
        }
    }
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("`sortie_opr_…`, `sortie_key_…` or `sortie_agt_…`"))
        .build();
    if let Some(components) = &mut document.components {
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
    }
    document.security = Some(vec![SecurityRequirement::new("key", [""; 0])]);
    document
}

fn describe(path: &str, operation: &mut Operation) {
    let named = path.split('{').skip(1);
    let names: Vec<&str> = named.filter_map(|rest| rest.split('}').next()).collect();
    let mut parameters: Vec<RefOr<Parameter>> =
        names.iter().map(|name| RefOr::T(parameter(name))).collect();
    let declared = operation.parameters.take().unwrap_or_default();
    let is_of_path = |found: &RefOr<Parameter>| match found {
        RefOr::T(found) => found.parameter_in == ParameterIn::Path,
        RefOr::Ref(_) => false,
    };
    parameters.extend(declared.into_iter().filter(|found| !is_of_path(found)));
    operation.parameters = Some(parameters);
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    let problem = ResponseBuilder::new()
        .description(format!(
            "Refused or failed; `code` says why, for example `{}`.",
            Code::InvalidArgument
        ))
        .content("application/problem+json", content)
        .build();
    operation
        .responses
        .responses
        .insert("default".to_owned(), problem.into());
}

fn parameter(name: &str) -> Parameter {
    let text = match name {
        "tenant" => "The tenant's id or name, or `-` for the caller's own.",
        "session" | "api_key" => "Its id.",
        _ => "Its id or name.",
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(text))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}
