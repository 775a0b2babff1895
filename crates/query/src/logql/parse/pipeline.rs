//! Pipelines: line filters, parsers, formats, conditions on labels.

use super::{MAX_STAGES, Parser, Step};
use crate::logql::amount;
use crate::logql::ast::{
    Amount, Comparison, Conversion, Extraction, LabelFilter, LabelFormat, LabelRef, LabelValue,
    LineFilter, LineMatch, LineOp, Stage, StageNode, Unwrap,
};
use crate::logql::lex::Kind;
use crate::logql::pipeline::check_stage;
use crate::promql::{MatchOp, Matcher, Span};

impl Parser<'_> {
    /// Stages until something comes that is none. `unwrap` is one only within a range.
    pub(super) fn stages(&mut self, out: &mut Vec<Stage>, in_range: bool) -> Step<()> {
        loop {
            let start = self.peek().span;
            let node = match self.peek().kind {
                Kind::Sign("|=" | "!=" | "|~" | "!~" | "|>" | "!>") => self.line_filter()?,
                Kind::Sign("|") => {
                    self.next();
                    self.stage()?
                }
                _ => return Ok(()),
            };
            let span = start.to(self.tokens[self.at - 1].span);
            if out.len() >= MAX_STAGES {
                return self.fail(span, format!("more than {MAX_STAGES} stages"));
            }
            let unwrapped = out
                .iter()
                .any(|stage| matches!(stage.node, StageNode::Unwrap(_)));
            match &node {
                StageNode::Unwrap(_) if !in_range => {
                    return self.fail(span, "unwrap is only allowed within a range aggregation");
                }
                StageNode::Filter(_) => {}
                _ if unwrapped => {
                    return self.fail(span, "only label filters may follow unwrap");
                }
                _ => {}
            }
            if let Err(message) = check_stage(&node) {
                return self.fail(span, message);
            }
            out.push(Stage { span, node });
        }
    }

    fn line_filter(&mut self) -> Step<StageNode> {
        let token = self.next();
        let Some(op) = LineOp::from_text(self.text(&token)) else {
            return self.unexpected("line filter");
        };
        let mut any = vec![self.line_match(op)?];
        while self.word() == Some("or") {
            self.next();
            any.push(self.line_match(op)?);
        }
        Ok(StageNode::Line(LineFilter { op, any }))
    }

    fn line_match(&mut self, op: LineOp) -> Step<LineMatch> {
        if self.word() == Some("ip") {
            let span = self.next().span;
            if !matches!(op, LineOp::Contains | LineOp::Lacks) {
                return self.fail(span, "ip() is only allowed with |= and !=");
            }
            return Ok(LineMatch::Ip(self.ip_argument()?));
        }
        Ok(LineMatch::Text(self.expect_text()?.0))
    }

    fn ip_argument(&mut self) -> Step<String> {
        self.expect("(")?;
        let (pattern, _) = self.expect_text()?;
        self.expect(")")?;
        Ok(pattern)
    }

    fn stage(&mut self) -> Step<StageNode> {
        let followed_by_text = matches!(self.peek_after().kind, Kind::Text(_));
        let node = match self.word() {
            Some("json") => {
                self.next();
                StageNode::Json(self.extractions()?)
            }
            Some("logfmt") => {
                self.next();
                let (mut strict, mut keep_empty) = (false, false);
                while self.peek().kind == Kind::Flag {
                    let token = self.next();
                    match self.text(&token) {
                        "--strict" => strict = true,
                        "--keep-empty" => keep_empty = true,
                        other => return self.fail(token.span, format!("unknown flag {other}")),
                    }
                }
                StageNode::Logfmt {
                    strict,
                    keep_empty,
                    fields: self.extractions()?,
                }
            }
            Some("regexp") if followed_by_text => {
                self.next();
                StageNode::Regexp(self.expect_text()?.0)
            }
            Some("pattern") if followed_by_text => {
                self.next();
                StageNode::Pattern(self.expect_text()?.0)
            }
            Some("line_format") if followed_by_text => {
                self.next();
                StageNode::LineFormat(self.expect_text()?.0)
            }
            Some("unpack") => {
                self.next();
                StageNode::Unpack
            }
            Some("decolorize") => {
                self.next();
                StageNode::Decolorize
            }
            Some("label_format") => {
                self.next();
                StageNode::LabelFormat(self.formats()?)
            }
            Some("drop") => {
                self.next();
                StageNode::Drop(self.label_refs()?)
            }
            Some("keep") => {
                self.next();
                StageNode::Keep(self.label_refs()?)
            }
            Some("unwrap") => {
                self.next();
                StageNode::Unwrap(self.unwrap_of()?)
            }
            _ => StageNode::Filter(self.label_filter()?),
        };
        Ok(node)
    }

    /// `label="path", other`; may be empty.
    fn extractions(&mut self) -> Step<Vec<Extraction>> {
        let mut out = Vec::new();
        while self.peek().kind == Kind::Word {
            let (label, _) = self.expect_word()?;
            let from = if self.accept("=") {
                self.expect_text()?.0
            } else {
                label.clone()
            };
            out.push(Extraction { label, from });
            if !self.accept(",") {
                break;
            }
        }
        Ok(out)
    }

    fn formats(&mut self) -> Step<Vec<LabelFormat>> {
        let mut out: Vec<LabelFormat> = Vec::new();
        loop {
            let (label, span) = self.expect_word()?;
            self.expect("=")?;
            let value = match self.word() {
                Some(from) => {
                    self.next();
                    LabelValue::Rename(from.to_owned())
                }
                None => LabelValue::Template(self.expect_text()?.0),
            };
            if out.iter().any(|other| other.label == label) {
                return self.fail(
                    span,
                    format!(
                        "multiple label name '{label}' not allowed in a single format operation"
                    ),
                );
            }
            out.push(LabelFormat { label, value });
            if !self.accept(",") {
                return Ok(out);
            }
        }
    }

    fn label_refs(&mut self) -> Step<Vec<LabelRef>> {
        let mut out = Vec::new();
        loop {
            let (name, span) = self.expect_word()?;
            let compared = matches!(self.peek().kind, Kind::Sign("=" | "!=" | "=~" | "!~"));
            out.push(if compared {
                LabelRef::Match(self.matcher_of(name, span)?)
            } else {
                LabelRef::Name(name)
            });
            if !self.accept(",") {
                return Ok(out);
            }
        }
    }

    fn unwrap_of(&mut self) -> Step<Unwrap> {
        let (label, span) = self.expect_word()?;
        if !self.accept("(") {
            return Ok(Unwrap {
                label,
                conversion: None,
            });
        }
        let Some(conversion) = Conversion::from_text(&label) else {
            return self.fail(span, format!("unknown conversion {label}"));
        };
        let (label, _) = self.expect_word()?;
        self.expect(")")?;
        Ok(Unwrap {
            label,
            conversion: Some(conversion),
        })
    }

    /// Conditions with `and`, `or`, a comma or nothing between them, from left to right.
    fn label_filter(&mut self) -> Step<LabelFilter> {
        let mut left = self.label_condition()?;
        let mut joined = 1;
        loop {
            let or = match (&self.peek().kind, self.word()) {
                (Kind::Word, Some("or")) => true,
                (Kind::Word, Some("and")) | (Kind::Sign(","), _) => false,
                // A space between conditions is an "and".
                (Kind::Word, _) if self.compares_after() => {
                    let right = self.label_condition()?;
                    left = LabelFilter::And(Box::new(left), Box::new(right));
                    continue;
                }
                _ => return Ok(left),
            };
            joined += 1;
            if joined > MAX_STAGES {
                let message = format!("more than {MAX_STAGES} conditions in one filter");
                return self.fail(self.peek().span, message);
            }
            self.next();
            let right = self.label_condition()?;
            let (a, b) = (Box::new(left), Box::new(right));
            left = if or {
                LabelFilter::Or(a, b)
            } else {
                LabelFilter::And(a, b)
            };
        }
    }

    fn compares_after(&self) -> bool {
        matches!(
            self.peek_after().kind,
            Kind::Sign("=" | "!=" | "=~" | "!~" | "==" | ">" | ">=" | "<" | "<=")
        )
    }

    fn label_condition(&mut self) -> Step<LabelFilter> {
        if self.accept("(") {
            let inner = self.deeper(Self::label_filter)?;
            self.expect(")")?;
            return Ok(LabelFilter::Paren(Box::new(inner)));
        }
        let (label, start) = self.expect_word()?;
        let token = self.next();
        let sign = self.text(&token);
        if let Kind::Text(value) = &self.peek().kind {
            let op = match sign {
                "=" | "==" => MatchOp::Equal,
                "!=" => MatchOp::NotEqual,
                "=~" => MatchOp::Regex,
                "!~" => MatchOp::NotRegex,
                _ => return self.unexpected("number, duration or bytes"),
            };
            let matcher = Matcher::new(label, op, value.clone());
            let span = start.to(self.next().span);
            return match matcher {
                Ok(matcher) => Ok(LabelFilter::Text(matcher)),
                Err(message) => self.fail(span, message),
            };
        }
        if self.word() == Some("ip") && matches!(sign, "=" | "==" | "!=") {
            self.next();
            return Ok(LabelFilter::Ip {
                label,
                negated: sign == "!=",
                pattern: self.ip_argument()?,
            });
        }
        let op = match sign {
            "=" => Comparison::Eq,
            other => match Comparison::from_text(other) {
                Some(op) => op,
                None => {
                    self.at = self.at.saturating_sub(1);
                    return self.unexpected("comparison");
                }
            },
        };
        let amount = self.amount()?;
        Ok(LabelFilter::Amount { label, op, amount })
    }

    /// A number, a duration or an amount of bytes.
    fn amount(&mut self) -> Step<Amount> {
        let negative = self.accept("-");
        if !negative {
            self.accept("+");
        }
        if self.peek().kind != Kind::Amount {
            return self.unexpected("number, duration, bytes or string");
        }
        let token = self.next();
        let text = self.text(&token);
        if let Some(number) = number(text) {
            return Ok(Amount::Number(if negative { -number } else { number }));
        }
        if let Some(ns) = amount::parse_duration(text) {
            return Ok(Amount::Duration(if negative { -ns } else { ns }));
        }
        match amount::parse_bytes(text) {
            Some(bytes) if !negative && bytes <= u64::MAX as f64 => Ok(Amount::Bytes(bytes as u64)),
            _ => self.bad_amount(token.span),
        }
    }

    pub(super) fn bad_amount<T>(&self, span: Span) -> Step<T> {
        let text = &self.source[span.start..span.end];
        self.fail(span, format!("{text} is no number, duration or bytes"))
    }
}

/// A plain number.
pub(super) fn number(text: &str) -> Option<f64> {
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'e' | b'E' | b'+' | b'-'));
    let prefixed = text.len() > 2 && text.starts_with('0') && !text.as_bytes()[1].is_ascii_digit();
    if plain || prefixed {
        crate::promql::parse_number(text).ok()
    } else {
        None
    }
}
