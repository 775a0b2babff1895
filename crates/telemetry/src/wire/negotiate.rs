//! Which format a target is asked for, and which one it answered in.

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `text/plain`
    Text,
    /// `application/openmetrics-text`
    OpenMetrics,
    /// `application/vnd.google.protobuf`
    Protobuf,
}

/// A protocol of a scrape, under its name in a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
pub enum Protocol {
    /// Delimited protobuf, the only one with native histograms.
    PrometheusProto,
    /// Text without quoted names.
    #[serde(rename = "PrometheusText0.0.4")]
    PrometheusText0_0_4,
    /// Text with quoted names.
    #[serde(rename = "PrometheusText1.0.0")]
    PrometheusText1_0_0,
    /// The first OpenMetrics.
    #[serde(rename = "OpenMetricsText0.0.1")]
    OpenMetricsText0_0_1,
    /// OpenMetrics.
    #[serde(rename = "OpenMetricsText1.0.0")]
    OpenMetricsText1_0_0,
}

use Protocol::{
    OpenMetricsText0_0_1, OpenMetricsText1_0_0, PrometheusProto, PrometheusText0_0_4,
    PrometheusText1_0_0,
};

impl Protocol {
    /// What is asked for in this order unless a configuration says otherwise.
    pub const DEFAULT: [Self; 4] = [
        OpenMetricsText1_0_0,
        OpenMetricsText0_0_1,
        PrometheusText1_0_0,
        PrometheusText0_0_4,
    ];
    /// The same where native histograms are wanted.
    pub const NATIVE_FIRST: [Self; 5] = [
        PrometheusProto,
        OpenMetricsText1_0_0,
        OpenMetricsText0_0_1,
        PrometheusText1_0_0,
        PrometheusText0_0_4,
    ];

    fn header(self) -> &'static str {
        match self {
            PrometheusProto => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            }
            PrometheusText0_0_4 => "text/plain;version=0.0.4",
            PrometheusText1_0_0 => "text/plain;version=1.0.0",
            OpenMetricsText0_0_1 => "application/openmetrics-text;version=0.0.1",
            OpenMetricsText1_0_0 => "application/openmetrics-text;version=1.0.0",
        }
    }

    /// How its bodies are written.
    pub fn format(self) -> Format {
        match self {
            PrometheusProto => Format::Protobuf,
            PrometheusText0_0_4 | PrometheusText1_0_0 => Format::Text,
            OpenMetricsText0_0_1 | OpenMetricsText1_0_0 => Format::OpenMetrics,
        }
    }
}

/// How names outside of the classic letters are to be written.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Escaping {
    /// As they are.
    #[default]
    #[serde(rename = "allow-utf-8")]
    AllowUtf8,
    /// Every other character becomes an underscore.
    Underscores,
    /// Dots become `_dot_`.
    Dots,
    /// Every other character becomes its number.
    Values,
}

impl Escaping {
    /// Its name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }
}

/// The header `Accept` of a scrape.
pub fn accept(protocols: &[Protocol], escaping: Escaping) -> String {
    let mut weight = 6;
    let mut out = String::new();
    for protocol in protocols {
        out.push_str(protocol.header());
        if matches!(protocol, PrometheusText1_0_0 | OpenMetricsText1_0_0) {
            out.push_str(";escaping=");
            out.push_str(escaping.name());
        }
        out.push_str(&format!(";q=0.{weight},"));
        weight -= 1;
    }
    out + &format!("*/*;q=0.{weight}")
}

/// The format of an answer by its `Content-Type`.
///
/// # Errors
/// It names none that is known and there is no fall-back; in upstream's words.
pub fn format(content_type: &str, fallback: Option<Protocol>) -> Result<Format, String> {
    let known = match media_type(content_type) {
        Some(media) if media == "application/openmetrics-text" => Some(Format::OpenMetrics),
        Some(media) if media == "application/vnd.google.protobuf" => Some(Format::Protobuf),
        Some(media) if media == "text/plain" => Some(Format::Text),
        _ => None,
    };
    if let Some(format) = known.or(fallback.map(Protocol::format)) {
        return Ok(format);
    }
    let shown = towpath_query::promql::quote(content_type);
    Err(if content_type.is_empty() {
        "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol \
         specified for target"
            .to_owned()
    } else if media_type(content_type).is_none() {
        format!("cannot parse Content-Type {shown} and no fallback_scrape_protocol for target")
    } else {
        format!(
            "received unsupported Content-Type {shown} and no fallback_scrape_protocol specified \
             for target"
        )
    })
}

/// The media type without its parameters, in lower case.
pub(crate) fn media_type(header: &str) -> Option<String> {
    let media = header.split(';').next().unwrap_or_default().trim();
    let token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b))
    };
    match media.split_once('/') {
        Some((kind, sub)) if token(kind) && token(sub) => {}
        None if token(media) => {}
        _ => return None,
    }
    let parameters = header.split(';').skip(1).map(str::trim);
    for parameter in parameters.filter(|parameter| !parameter.is_empty()) {
        if !parameter
            .split_once('=')
            .is_some_and(|(name, _)| token(name.trim()))
        {
            return None;
        }
    }
    Some(media.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_upstreams() {
        assert_eq!(
            accept(&Protocol::DEFAULT, Escaping::AllowUtf8),
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        );
        assert_eq!(
            accept(&[PrometheusText0_0_4], Escaping::Dots),
            "text/plain;version=0.0.4;q=0.6,*/*;q=0.5"
        );
    }

    #[test]
    fn formats_of_answers() {
        assert_eq!(format("Text/Plain; version=0.0.4", None), Ok(Format::Text));
        let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(format(open, None), Ok(Format::OpenMetrics));
        assert_eq!(format("", Some(PrometheusText0_0_4)), Ok(Format::Text));
        assert!(format("", None).is_err_and(|e| e.contains("blank Content-Type")));
        assert!(format("text/html", None).is_err_and(|e| e.contains("unsupported")));
        assert!(format("a/b/c", None).is_err_and(|e| e.contains("cannot parse")));
    }
}
