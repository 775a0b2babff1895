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
            otlp_endpoint: variable("OTEL_EXPORTER_OTLP_ENDPOINT").filter(|v| !v.is_empty()),
        })
    }
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
    fn a_bad_port_is_named() {
        let error = Config::from_env(|name| (name == "PORT").then(|| "http".into())).expect_err("bad");
        assert_eq!(error, "PORT=\"http\" is not a port");
    }
}
