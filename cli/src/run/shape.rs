//! Values that have the shape of a well-known secret: what every secret scanner knows. Pure.
//!
//! Invariant: what is answered is a kind, never a part of the value. A false alarm costs a `--keep`; so the shapes ask
//! for the prefix and for as many characters as issuers use at least.

/// A prefix, and what follows it.
struct Shape {
    prefix: &'static str,
    /// How many characters of the alphabet follow at least.
    length: usize,
    /// Besides letters and digits.
    extra: &'static str,
    kind: &'static str,
}

const fn shape(
    prefix: &'static str,
    length: usize,
    extra: &'static str,
    kind: &'static str,
) -> Shape {
    Shape {
        prefix,
        length,
        extra,
        kind,
    }
}

/// Longer prefixes before those that they start with.
const SHAPES: &[Shape] = &[
    shape("ghp_", 36, "", "a GitHub token"),
    shape("gho_", 36, "", "a GitHub token"),
    shape("ghu_", 36, "", "a GitHub token"),
    shape("ghs_", 36, "", "a GitHub token"),
    shape("ghr_", 36, "", "a GitHub token"),
    shape("github_pat_", 22, "_", "a GitHub token"),
    shape("glpat-", 20, "_-.", "a GitLab token"),
    shape("gldt-", 20, "_-", "a GitLab token"),
    shape("glptt-", 20, "_-", "a GitLab token"),
    shape("ATATT3", 24, "_-=", "an Atlassian token"),
    shape("ATBB", 24, "", "a Bitbucket password"),
    shape("sk-ant-", 20, "_-", "an Anthropic key"),
    shape("sk-proj-", 20, "_-", "an OpenAI key"),
    shape("sk-svcacct-", 20, "_-", "an OpenAI key"),
    shape("sk-admin-", 20, "_-", "an OpenAI key"),
    shape("sk-or-v1-", 32, "", "an OpenRouter key"),
    shape("sk-", 32, "", "a model provider's key"),
    shape("AIza", 35, "_-", "a Google key"),
    shape("ya29.", 20, "_-", "a Google token"),
    shape("gsk_", 32, "", "a Groq key"),
    shape("xai-", 32, "", "an xAI key"),
    shape("pplx-", 32, "", "a Perplexity key"),
    shape("hf_", 30, "", "a Hugging Face token"),
    shape("r8_", 30, "", "a Replicate token"),
    shape("AKIA", 16, "", "an AWS access key"),
    shape("ASIA", 16, "", "an AWS access key"),
    shape("xoxb-", 10, "-", "a Slack token"),
    shape("xoxp-", 10, "-", "a Slack token"),
    shape("xoxa-", 10, "-", "a Slack token"),
    shape("xoxr-", 10, "-", "a Slack token"),
    shape("xoxs-", 10, "-", "a Slack token"),
    shape("xoxe.", 10, ".-", "a Slack token"),
    shape("xapp-", 10, "-", "a Slack token"),
    shape("npm_", 36, "", "an npm token"),
    shape("pypi-AgE", 40, "_-", "a PyPI token"),
    shape("cio", 32, "", "a crates.io token"),
    shape("rubygems_", 32, "", "a RubyGems key"),
    shape("dckr_pat_", 20, "_-", "a Docker token"),
    shape("sk_live_", 20, "", "a Stripe key"),
    shape("sk_test_", 20, "", "a Stripe key"),
    shape("rk_live_", 20, "", "a Stripe key"),
    shape("rk_test_", 20, "", "a Stripe key"),
    shape("whsec_", 24, "+/=", "a webhook secret"),
    shape("SG.", 40, "._-", "a SendGrid key"),
    shape("lin_api_", 32, "", "a Linear key"),
    shape("ntn_", 32, "", "a Notion token"),
    shape("figd_", 30, "_-", "a Figma token"),
    shape("shpat_", 32, "", "a Shopify token"),
    shape("dop_v1_", 32, "", "a DigitalOcean token"),
    shape("dapi", 32, "", "a Databricks token"),
    shape("glsa_", 32, "_", "a Grafana token"),
    shape("sntrys_", 32, "_=+/", "a Sentry token"),
    shape("hvs.", 24, "_-", "a Vault token"),
    shape("sortie_ses_", 20, "._-", "a session of Sortie"),
    shape("sortie_key_", 39, "", "a key of Sortie"),
    shape("sortie_agt_", 39, "", "a key of Sortie"),
    shape("sortie_opr_", 39, "", "a key of Sortie"),
    shape("AGE-SECRET-KEY-1", 50, "", "an age key"),
];

/// Variables whose values have no shape of their own, but whose names leave no doubt.
const NAMES: &[(&str, &str)] = &[
    ("AWS_SECRET_ACCESS_KEY", "an AWS secret key"),
    ("AWS_SESSION_TOKEN", "an AWS session token"),
];

/// What kind of secret a variable holds, as far as its shape tells; wherever in the value it stands.
pub(crate) fn secret_kind(name: &str, value: &str) -> Option<&'static str> {
    if let Some((_, kind)) = NAMES.iter().find(|(known, _)| *known == name) {
        return (!value.is_empty()).then_some(kind);
    }
    if value.contains("-----BEGIN ") && value.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    let found = SHAPES.iter().find(|shape| shape.is_in(value));
    found.map(|shape| shape.kind)
}

impl Shape {
    fn is_in(&self, value: &str) -> bool {
        value.match_indices(self.prefix).any(|(at, _)| {
            let before = value.get(..at).unwrap_or_default().chars().next_back();
            let behind = value.get(at + self.prefix.len()..).unwrap_or_default();
            let length = behind
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || self.extra.contains(*c))
                .count();
            // Inside a word it is a part of something else.
            !before.is_some_and(|c| c.is_ascii_alphanumeric()) && length >= self.length
        })
    }
}

#[cfg(test)]
mod tests;
