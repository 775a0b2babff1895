//! Settings, all from the environment, all with defaults that suit a laptop.

/// What the service needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `PORT`.
    pub port: u16,
    /// `GREETING`.
    pub greeting: String,
    /// `DATABASE_HOST`, `DATABASE_PORT`.
    pub database: (String, u16),
    /// `DATABASE_NAME`.
    pub database_name: String,
    /// `DATABASE_USER`, `DATABASE_PASSWORD`.
    pub database_user: (String, String),
    /// `REDIS_HOST`, `REDIS_PORT`.
    pub redis: (String, u16),
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, e.g. `http://collector:4318`.
    pub otlp_endpoint: Option<String>,
    /// What spans come from: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`.
    pub resource: Vec<(String, String)>,
}

impl Config {
    /// Reads the settings through `variable`.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let text = |name: &str, default: &str| variable(name).unwrap_or_else(|| default.into());
        let port = |name: &str, default: u16| match variable(name) {
            None => Ok(default),
            Some(value) => value.parse().map_err(|_| format!("{name}={value:?} is not a port")),
        };
        Ok(Self {
            port: port("PORT", 8080)?,
            greeting: text("GREETING", "Hello from Towpath."),
            database: (text("DATABASE_HOST", "localhost"), port("DATABASE_PORT", 5432)?),
            database_name: text("DATABASE_NAME", "hello"),
            database_user: (text("DATABASE_USER", "hello"), text("DATABASE_PASSWORD", "")),
            redis: (text("REDIS_HOST", "localhost"), port("REDIS_PORT", 6379)?),
            resource: resource(&text("OTEL_SERVICE_NAME", "hello"), &text("OTEL_RESOURCE_ATTRIBUTES", "")),
            otlp_endpoint: variable("OTEL_EXPORTER_OTLP_ENDPOINT").filter(|v| !v.is_empty()),
        })
    }
}

/// `name=value` pairs with commas between; the service's name has a variable of its own.
fn resource(service: &str, pairs: &str) -> Vec<(String, String)> {
    let pairs = pairs.split(',').filter_map(|pair| pair.split_once('='));
    let pairs = pairs.map(|(name, value)| (name.trim().to_string(), value.trim().to_string()));
    let named = pairs.filter(|(name, _)| name != "service.name");
    std::iter::once(("service.name".to_string(), service.to_string())).chain(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_suit_a_laptop() {
        let config = Config::from_env(|_| None).expect("defaults");
        assert_eq!(config.port, 8080);
        assert_eq!(config.redis, ("localhost".into(), 6379));
        assert_eq!(config.otlp_endpoint, None);
    }

    #[test]
    fn spans_say_where_they_come_from() {
        let found = resource("hello", "k8s.pod.name=hello-1, k8s.namespace.name=hello-dev,nonsense,service.name=x");
        let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
        assert_eq!(found, [pair("service.name", "hello"), pair("k8s.pod.name", "hello-1"), pair("k8s.namespace.name", "hello-dev")]);
    }

    #[test]
    fn a_bad_port_is_named() {
        let error = Config::from_env(|name| (name == "PORT").then(|| "http".into())).expect_err("bad");
        assert_eq!(error, "PORT=\"http\" is not a port");
    }
}
