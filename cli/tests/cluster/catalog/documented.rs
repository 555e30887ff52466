//! One request for each service of the catalog that carries a credential, as the vendor's documentation or client sends
//! it, and what the vendor documents that must arrive. Written from the vendors' pages, not from the catalog.

/// A request of a vendor's client that holds placeholders.
pub(super) struct Documented {
    pub(super) bundle: &'static str,
    pub(super) service: &'static str,
    pub(super) method: &'static str,
    /// The host that the documentation names.
    pub(super) host: &'static str,
    /// Path and query; `[NAME]` is the credential: its placeholder when sent, its value when it arrives.
    pub(super) path: &'static str,
    /// Headers that the client sends; `[NAME]` as in the path, and `basic(…)` is encoded.
    pub(super) sends: &'static [&'static str],
    /// Headers that must arrive, written the same.
    pub(super) arrives: &'static [&'static str],
}

macro_rules! documented {
    ($($bundle:literal $service:literal $method:literal $host:literal $path:literal
       [$($sends:literal),*] => [$($arrives:literal),*];)*) => {
        /// The table.
        pub(super) const DOCUMENTED: &[Documented] = &[$(Documented {
            bundle: $bundle, service: $service, method: $method, host: $host, path: $path,
            sends: &[$($sends),*], arrives: &[$($arrives),*],
        }),*];
    };
}

documented! {
    "anthropic" "anthropic" "POST" "api.anthropic.com" "/v1/messages"
        ["x-api-key: [ANTHROPIC_API_KEY]", "anthropic-version: 2023-06-01"]
        => ["x-api-key: [ANTHROPIC_API_KEY]", "anthropic-version: 2023-06-01"];
    // As the Python SDK sends it from version 2 on.
    "anthropic" "anthropic" "POST" "api.anthropic.com" "/v1/messages"
        ["Authorization: Bearer [ANTHROPIC_API_KEY]"]
        => ["authorization: Bearer [ANTHROPIC_API_KEY]", "x-api-key: [ANTHROPIC_API_KEY]"];
    "openai" "openai" "POST" "api.openai.com" "/v1/responses"
        ["Authorization: Bearer [OPENAI_API_KEY]"] => ["authorization: Bearer [OPENAI_API_KEY]"];
    "gemini" "gemini" "POST" "generativelanguage.googleapis.com" "/v1beta/models/gemini-2.5-flash:generateContent"
        ["x-goog-api-key: [GEMINI_API_KEY]"] => ["x-goog-api-key: [GEMINI_API_KEY]"];
    "gemini" "gemini-openai" "POST" "generativelanguage.googleapis.com" "/v1beta/openai/chat/completions"
        ["Authorization: Bearer [GEMINI_API_KEY]"] => ["authorization: Bearer [GEMINI_API_KEY]"];
    "mistral" "mistral" "POST" "api.mistral.ai" "/v1/chat/completions"
        ["Authorization: Bearer [MISTRAL_API_KEY]"] => ["authorization: Bearer [MISTRAL_API_KEY]"];
    "mistral" "mistral-eu" "POST" "api.eu.mistral.ai" "/v1/chat/completions"
        ["Authorization: Bearer [MISTRAL_API_KEY]"] => ["authorization: Bearer [MISTRAL_API_KEY]"];
    "mistral" "mistral-us" "POST" "api.us.mistral.ai" "/v1/chat/completions"
        ["Authorization: Bearer [MISTRAL_API_KEY]"] => ["authorization: Bearer [MISTRAL_API_KEY]"];
    "groq" "groq" "POST" "api.groq.com" "/openai/v1/chat/completions"
        ["Authorization: Bearer [GROQ_API_KEY]"] => ["authorization: Bearer [GROQ_API_KEY]"];
    "openrouter" "openrouter" "POST" "openrouter.ai" "/api/v1/chat/completions"
        ["Authorization: Bearer [OPENROUTER_API_KEY]"] => ["authorization: Bearer [OPENROUTER_API_KEY]"];
    "deepseek" "deepseek" "POST" "api.deepseek.com" "/chat/completions"
        ["Authorization: Bearer [DEEPSEEK_API_KEY]"] => ["authorization: Bearer [DEEPSEEK_API_KEY]"];
    "xai" "xai" "POST" "api.x.ai" "/v1/chat/completions"
        ["Authorization: Bearer [XAI_API_KEY]"] => ["authorization: Bearer [XAI_API_KEY]"];
    "cohere" "cohere" "POST" "api.cohere.com" "/v2/chat"
        ["Authorization: bearer [CO_API_KEY]"] => ["authorization: Bearer [CO_API_KEY]"];
    "cohere" "cohere-v1" "POST" "api.cohere.ai" "/v1/chat"
        ["Authorization: BEARER [CO_API_KEY]"] => ["authorization: Bearer [CO_API_KEY]"];
    "together" "together" "POST" "api.together.xyz" "/v1/chat/completions"
        ["Authorization: Bearer [TOGETHER_API_KEY]"] => ["authorization: Bearer [TOGETHER_API_KEY]"];
    "together" "together-ai" "POST" "api.together.ai" "/v1/chat/completions"
        ["Authorization: Bearer [TOGETHER_API_KEY]"] => ["authorization: Bearer [TOGETHER_API_KEY]"];
    "together" "together-inference" "POST" "api-inference.together.ai" "/v1/chat/completions"
        ["Authorization: Bearer [TOGETHER_API_KEY]"] => ["authorization: Bearer [TOGETHER_API_KEY]"];
    "fireworks" "fireworks" "POST" "api.fireworks.ai" "/inference/v1/chat/completions"
        ["Authorization: Bearer [FIREWORKS_API_KEY]"] => ["authorization: Bearer [FIREWORKS_API_KEY]"];
    "perplexity" "perplexity" "POST" "api.perplexity.ai" "/chat/completions"
        ["Authorization: Bearer [PERPLEXITY_API_KEY]"] => ["authorization: Bearer [PERPLEXITY_API_KEY]"];
    "replicate" "replicate" "POST" "api.replicate.com" "/v1/predictions"
        ["Authorization: Bearer [REPLICATE_API_TOKEN]", "Prefer: wait"]
        => ["authorization: Bearer [REPLICATE_API_TOKEN]", "prefer: wait"];
    "replicate" "replicate-files" "GET" "replicate.delivery" "/xezq/out.webp"
        ["Authorization: Bearer [REPLICATE_API_TOKEN]"] => ["authorization: Bearer [REPLICATE_API_TOKEN]"];
    "elevenlabs" "elevenlabs" "GET" "api.elevenlabs.io" "/v1/voices"
        ["xi-api-key: [ELEVENLABS_API_KEY]"] => ["xi-api-key: [ELEVENLABS_API_KEY]"];
    "elevenlabs" "elevenlabs-us" "GET" "api.us.elevenlabs.io" "/v1/voices"
        ["xi-api-key: [ELEVENLABS_API_KEY]"] => ["xi-api-key: [ELEVENLABS_API_KEY]"];
    "elevenlabs" "elevenlabs-eu" "GET" "api.eu.residency.elevenlabs.io" "/v1/voices"
        ["xi-api-key: [ELEVENLABS_API_KEY]"] => ["xi-api-key: [ELEVENLABS_API_KEY]"];
    "elevenlabs" "elevenlabs-in" "GET" "api.in.residency.elevenlabs.io" "/v1/voices"
        ["xi-api-key: [ELEVENLABS_API_KEY]"] => ["xi-api-key: [ELEVENLABS_API_KEY]"];
    "elevenlabs" "elevenlabs-sg" "GET" "api.sg.residency.elevenlabs.io" "/v1/voices"
        ["xi-api-key: [ELEVENLABS_API_KEY]"] => ["xi-api-key: [ELEVENLABS_API_KEY]"];
    "huggingface" "huggingface" "GET" "huggingface.co" "/api/whoami-v2"
        ["authorization: Bearer [HF_TOKEN]"] => ["authorization: Bearer [HF_TOKEN]"];
    "huggingface" "huggingface-router" "POST" "router.huggingface.co" "/v1/chat/completions"
        ["Authorization: Bearer [HF_TOKEN]"] => ["authorization: Bearer [HF_TOKEN]"];
    "brave-search" "brave-search" "GET" "api.search.brave.com" "/res/v1/web/search?q=sortie"
        ["X-Subscription-Token: [BRAVE_API_KEY]"] => ["x-subscription-token: [BRAVE_API_KEY]"];
    "tavily" "tavily" "POST" "api.tavily.com" "/search"
        ["Authorization: Bearer [TAVILY_API_KEY]"] => ["authorization: Bearer [TAVILY_API_KEY]"];
    "exa" "exa" "POST" "api.exa.ai" "/search" ["x-api-key: [EXA_API_KEY]"] => ["x-api-key: [EXA_API_KEY]"];
    "firecrawl" "firecrawl" "POST" "api.firecrawl.dev" "/v2/scrape"
        ["Authorization: Bearer [FIRECRAWL_API_KEY]"] => ["authorization: Bearer [FIRECRAWL_API_KEY]"];

    "github" "github" "GET" "api.github.com" "/user"
        ["Authorization: token [GITHUB_TOKEN]", "Accept: application/vnd.github+json"]
        => ["authorization: Bearer [GITHUB_TOKEN]", "accept: application/vnd.github+json"];
    "github" "github-uploads" "POST" "uploads.github.com" "/repos/acme/app/releases/1/assets?name=app.zip"
        ["Authorization: Bearer [GITHUB_TOKEN]"] => ["authorization: Bearer [GITHUB_TOKEN]"];
    "github" "github-git" "GET" "github.com" "/acme/private.git/info/refs?service=git-upload-pack"
        [] => ["authorization: basic(x-access-token:[GITHUB_TOKEN])"];
    "github" "github-raw" "GET" "raw.githubusercontent.com" "/acme/private/main/README.md"
        ["Authorization: token [GITHUB_TOKEN]"] => ["authorization: Bearer [GITHUB_TOKEN]"];
    "ghcr" "ghcr" "GET" "ghcr.io" "/v2/acme/app/manifests/latest"
        [] => ["authorization: Bearer [GHCR_TOKEN_BASE64]"];
    "gitlab" "gitlab" "GET" "gitlab.com" "/api/v4/projects/acme%2Fapp"
        ["PRIVATE-TOKEN: [GITLAB_TOKEN]"] => ["private-token: [GITLAB_TOKEN]"];
    "gitlab" "gitlab-git" "GET" "gitlab.com" "/acme/app.git/info/refs?service=git-upload-pack"
        ["Authorization: basic(oauth2:[GITLAB_TOKEN])"] => ["authorization: basic(oauth2:[GITLAB_TOKEN])"];
    "npm" "npm" "GET" "registry.npmjs.org" "/@acme%2fprivate"
        ["authorization: Bearer [NPM_TOKEN]"] => ["authorization: Bearer [NPM_TOKEN]"];
    "pypi" "pypi-upload" "POST" "upload.pypi.org" "/legacy/"
        ["Authorization: basic(__token__:[PYPI_TOKEN])"] => ["authorization: basic(__token__:[PYPI_TOKEN])"];
    "crates-io" "crates-io" "PUT" "crates.io" "/api/v1/crates/new"
        ["Authorization: [CARGO_REGISTRY_TOKEN]"] => ["authorization: [CARGO_REGISTRY_TOKEN]"];
    "cloudflare" "cloudflare" "GET" "api.cloudflare.com" "/client/v4/user/tokens/verify"
        ["Authorization: Bearer [CLOUDFLARE_API_TOKEN]"] => ["authorization: Bearer [CLOUDFLARE_API_TOKEN]"];
    "vercel" "vercel" "GET" "api.vercel.com" "/v9/projects"
        ["Authorization: Bearer [VERCEL_TOKEN]"] => ["authorization: Bearer [VERCEL_TOKEN]"];
    "supabase-management" "supabase-management" "GET" "api.supabase.com" "/v1/projects"
        ["Authorization: Bearer [SUPABASE_ACCESS_TOKEN]"] => ["authorization: Bearer [SUPABASE_ACCESS_TOKEN]"];
    "digitalocean" "digitalocean" "GET" "api.digitalocean.com" "/v2/account"
        ["Authorization: Bearer [DIGITALOCEAN_ACCESS_TOKEN]"]
        => ["authorization: Bearer [DIGITALOCEAN_ACCESS_TOKEN]"];
    "digitalocean" "digitalocean-inference" "POST" "inference.do-ai.run" "/v1/chat/completions"
        ["Authorization: Bearer [DIGITALOCEAN_ACCESS_TOKEN]"]
        => ["authorization: Bearer [DIGITALOCEAN_ACCESS_TOKEN]"];
    "sentry" "sentry" "GET" "sentry.io" "/api/0/organizations/"
        ["Authorization: Bearer [SENTRY_AUTH_TOKEN]"] => ["authorization: Bearer [SENTRY_AUTH_TOKEN]"];
    "sentry" "sentry-us" "GET" "us.sentry.io" "/api/0/projects/acme/app/issues/"
        ["Authorization: Bearer [SENTRY_AUTH_TOKEN]"] => ["authorization: Bearer [SENTRY_AUTH_TOKEN]"];
    "sentry" "sentry-de" "GET" "de.sentry.io" "/api/0/projects/acme/app/issues/"
        ["Authorization: Bearer [SENTRY_AUTH_TOKEN]"] => ["authorization: Bearer [SENTRY_AUTH_TOKEN]"];
    "datadog" "datadog" "GET" "api.datadoghq.com" "/api/v1/monitor"
        ["DD-API-KEY: [DD_API_KEY]", "DD-APPLICATION-KEY: [DD_APP_KEY]"]
        => ["dd-api-key: [DD_API_KEY]", "dd-application-key: [DD_APP_KEY]"];
    "datadog" "datadog-logs" "POST" "http-intake.logs.datadoghq.com" "/api/v2/logs"
        ["DD-API-KEY: [DD_API_KEY]"] => ["dd-api-key: [DD_API_KEY]"];
    "datadog" "datadog-us3" "GET" "api.us3.datadoghq.com" "/api/v1/monitor"
        ["DD-API-KEY: [DD_API_KEY]", "DD-APPLICATION-KEY: [DD_APP_KEY]"]
        => ["dd-api-key: [DD_API_KEY]", "dd-application-key: [DD_APP_KEY]"];
    "datadog" "datadog-us3-logs" "POST" "http-intake.logs.us3.datadoghq.com" "/api/v2/logs"
        ["DD-API-KEY: [DD_API_KEY]"] => ["dd-api-key: [DD_API_KEY]"];
    "datadog" "datadog-us5" "GET" "api.us5.datadoghq.com" "/api/v1/monitor"
        ["DD-API-KEY: [DD_API_KEY]", "DD-APPLICATION-KEY: [DD_APP_KEY]"]
        => ["dd-api-key: [DD_API_KEY]", "dd-application-key: [DD_APP_KEY]"];
    "datadog" "datadog-us5-logs" "POST" "http-intake.logs.us5.datadoghq.com" "/api/v2/logs"
        ["DD-API-KEY: [DD_API_KEY]"] => ["dd-api-key: [DD_API_KEY]"];
    "datadog" "datadog-eu" "GET" "api.datadoghq.eu" "/api/v1/monitor"
        ["DD-API-KEY: [DD_API_KEY]", "DD-APPLICATION-KEY: [DD_APP_KEY]"]
        => ["dd-api-key: [DD_API_KEY]", "dd-application-key: [DD_APP_KEY]"];
    "datadog" "datadog-eu-logs" "POST" "http-intake.logs.datadoghq.eu" "/api/v2/logs"
        ["DD-API-KEY: [DD_API_KEY]"] => ["dd-api-key: [DD_API_KEY]"];
    "datadog" "datadog-ap1" "GET" "api.ap1.datadoghq.com" "/api/v1/monitor"
        ["DD-API-KEY: [DD_API_KEY]", "DD-APPLICATION-KEY: [DD_APP_KEY]"]
        => ["dd-api-key: [DD_API_KEY]", "dd-application-key: [DD_APP_KEY]"];
    "datadog" "datadog-ap1-logs" "POST" "http-intake.logs.ap1.datadoghq.com" "/api/v2/logs"
        ["DD-API-KEY: [DD_API_KEY]"] => ["dd-api-key: [DD_API_KEY]"];
    "datadog" "datadog-ap2" "GET" "api.ap2.datadoghq.com" "/api/v1/monitor"
        ["DD-API-KEY: [DD_API_KEY]", "DD-APPLICATION-KEY: [DD_APP_KEY]"]
        => ["dd-api-key: [DD_API_KEY]", "dd-application-key: [DD_APP_KEY]"];
    "datadog" "datadog-ap2-logs" "POST" "http-intake.logs.ap2.datadoghq.com" "/api/v2/logs"
        ["DD-API-KEY: [DD_API_KEY]"] => ["dd-api-key: [DD_API_KEY]"];
    "datadog" "datadog-gov" "GET" "api.ddog-gov.com" "/api/v1/monitor"
        ["DD-API-KEY: [DD_API_KEY]", "DD-APPLICATION-KEY: [DD_APP_KEY]"]
        => ["dd-api-key: [DD_API_KEY]", "dd-application-key: [DD_APP_KEY]"];
    "datadog" "datadog-gov-logs" "POST" "http-intake.logs.ddog-gov.com" "/api/v2/logs"
        ["DD-API-KEY: [DD_API_KEY]"] => ["dd-api-key: [DD_API_KEY]"];

    "slack" "slack" "POST" "slack.com" "/api/chat.postMessage"
        ["Authorization: Bearer [SLACK_BOT_TOKEN]"] => ["authorization: Bearer [SLACK_BOT_TOKEN]"];
    "slack" "slack-files" "GET" "files.slack.com" "/files-pri/T1-F1/notes.txt"
        ["Authorization: Bearer [SLACK_BOT_TOKEN]"] => ["authorization: Bearer [SLACK_BOT_TOKEN]"];
    "slack-socket-mode" "slack-app-connections" "POST" "slack.com" "/api/apps.connections.open"
        ["Authorization: Bearer [SLACK_APP_TOKEN]"] => ["authorization: Bearer [SLACK_APP_TOKEN]"];
    "slack-socket-mode" "slack-app-authorizations" "POST" "slack.com" "/api/apps.event.authorizations.list"
        ["Authorization: Bearer [SLACK_APP_TOKEN]"] => ["authorization: Bearer [SLACK_APP_TOKEN]"];
    // Stripe's documentation sends the key as the user of Basic; its libraries send Bearer. Both are accepted.
    "stripe" "stripe" "POST" "api.stripe.com" "/v1/charges"
        ["Authorization: Bearer [STRIPE_SECRET_KEY]", "Stripe-Version: 2025-09-30.clover"]
        => ["authorization: Bearer [STRIPE_SECRET_KEY]", "stripe-version: 2025-09-30.clover"];
    "stripe" "stripe-files" "POST" "files.stripe.com" "/v1/files"
        ["Authorization: basic([STRIPE_SECRET_KEY]:)"] => ["authorization: Bearer [STRIPE_SECRET_KEY]"];
    "stripe" "stripe-connect" "POST" "connect.stripe.com" "/oauth/token"
        ["Authorization: Bearer [STRIPE_SECRET_KEY]"] => ["authorization: Bearer [STRIPE_SECRET_KEY]"];
    "linear" "linear" "POST" "api.linear.app" "/graphql"
        ["Authorization: [LINEAR_API_KEY]"] => ["authorization: [LINEAR_API_KEY]"];
    "linear" "linear-uploads" "GET" "uploads.linear.app" "/acme/file"
        ["Authorization: [LINEAR_API_KEY]"] => ["authorization: [LINEAR_API_KEY]"];
    "notion" "notion" "GET" "api.notion.com" "/v1/users/me"
        ["Authorization: Bearer [NOTION_TOKEN]", "Notion-Version: 2022-06-28"]
        => ["authorization: Bearer [NOTION_TOKEN]", "notion-version: 2022-06-28"];
    "atlassian" "atlassian" "GET" "api.atlassian.com" "/ex/jira/00000000/rest/api/3/myself"
        ["Authorization: basic(me@example.com:[ATLASSIAN_API_TOKEN])"]
        => ["authorization: basic(me@example.com:[ATLASSIAN_API_TOKEN])"];
    "discord" "discord" "GET" "discord.com" "/api/v10/users/@me"
        ["Authorization: Bot [DISCORD_TOKEN]"] => ["authorization: Bot [DISCORD_TOKEN]"];
    "sendgrid" "sendgrid" "POST" "api.sendgrid.com" "/v3/mail/send"
        ["Authorization: Bearer [SENDGRID_API_KEY]"] => ["authorization: Bearer [SENDGRID_API_KEY]"];
    "sendgrid" "sendgrid-eu" "POST" "api.eu.sendgrid.com" "/v3/mail/send"
        ["Authorization: Bearer [SENDGRID_API_KEY]"] => ["authorization: Bearer [SENDGRID_API_KEY]"];
    "resend" "resend" "POST" "api.resend.com" "/emails"
        ["Authorization: Bearer [RESEND_API_KEY]"] => ["authorization: Bearer [RESEND_API_KEY]"];
    "twilio" "twilio" "POST" "api.twilio.com" "/2010-04-01/Accounts/[TWILIO_ACCOUNT_SID]/Messages.json"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-verify" "POST" "verify.twilio.com" "/v2/Services/VA1/Verifications"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-lookups" "GET" "lookups.twilio.com" "/v2/PhoneNumbers/+15550100"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-messaging" "GET" "messaging.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-conversations" "GET" "conversations.twilio.com" "/v1/Conversations"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-accounts" "GET" "accounts.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-bulkexports" "GET" "bulkexports.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-marketplace" "GET" "marketplace.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-chat" "GET" "chat.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-content" "GET" "content.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-events" "GET" "events.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-flex-api" "GET" "flex-api.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-iam" "GET" "iam.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-insights" "GET" "insights.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-intelligence" "GET" "intelligence.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-monitor" "GET" "monitor.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-notify" "GET" "notify.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-numbers" "GET" "numbers.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-pricing" "GET" "pricing.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-proxy" "GET" "proxy.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-routes" "GET" "routes.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-serverless" "GET" "serverless.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-studio" "GET" "studio.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-supersim" "GET" "supersim.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-sync" "GET" "sync.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-taskrouter" "GET" "taskrouter.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-trunking" "GET" "trunking.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-trusthub" "GET" "trusthub.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-video" "GET" "video.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-voice" "GET" "voice.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "twilio" "twilio-wireless" "GET" "wireless.twilio.com" "/v1/Services"
        ["Authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"]
        => ["authorization: basic([TWILIO_ACCOUNT_SID]:[TWILIO_AUTH_TOKEN])"];
    "airtable" "airtable" "GET" "api.airtable.com" "/v0/appX/Table"
        ["Authorization: Bearer [AIRTABLE_API_KEY]"] => ["authorization: Bearer [AIRTABLE_API_KEY]"];
    "airtable" "airtable-content" "POST" "content.airtable.com" "/v0/appX/recX/fldX/uploadAttachment"
        ["Authorization: Bearer [AIRTABLE_API_KEY]"] => ["authorization: Bearer [AIRTABLE_API_KEY]"];
    "figma" "figma" "GET" "api.figma.com" "/v1/me"
        ["X-Figma-Token: [FIGMA_API_KEY]"] => ["x-figma-token: [FIGMA_API_KEY]"];

    "claude-code" "anthropic" "POST" "api.anthropic.com" "/v1/messages?beta=true"
        ["x-api-key: [ANTHROPIC_API_KEY]", "anthropic-version: 2023-06-01"]
        => ["x-api-key: [ANTHROPIC_API_KEY]", "anthropic-version: 2023-06-01"];
    "claude-code-subscription" "anthropic" "POST" "api.anthropic.com" "/v1/messages?beta=true"
        ["Authorization: Bearer [CLAUDE_CODE_OAUTH_TOKEN]", "anthropic-beta: oauth-2025-04-20"]
        => ["authorization: Bearer [CLAUDE_CODE_OAUTH_TOKEN]", "anthropic-beta: oauth-2025-04-20"];
    "codex" "openai" "POST" "api.openai.com" "/v1/responses"
        ["Authorization: Bearer [OPENAI_API_KEY]"] => ["authorization: Bearer [OPENAI_API_KEY]"];
    "opencode-zen" "opencode-zen" "POST" "opencode.ai" "/zen/v1/chat/completions"
        ["Authorization: Bearer [OPENCODE_API_KEY]"] => ["authorization: Bearer [OPENCODE_API_KEY]"];
}
