//! WeChat Work: a token first, then the message.

use serde_json::{Map, Value, json};

use super::Way;
use super::making::{Making, named, put};
use super::talk::{Answer, Fault, Next, Payload, Request, Talk, by_status, escaped};

/// What is answered where the token is too old.
const TOKEN_EXPIRED: i64 = 42001;

enum Stage {
    Begin,
    Token,
    Sent,
}

struct Wechat {
    api: String,
    ask: String,
    body: Value,
    stage: Stage,
}

pub(super) fn wechat(making: &Making<'_>) -> Result<Way, String> {
    let default = |name: &str| named(&format!("wechat.default.{name}"));
    let api = making.base("api_url", "https://qyapi.weixin.qq.com/cgi-bin");
    let secret = making.fill(&making.secret("api_secret")?)?;
    let company = making.fill(making.of.text("corp_id"))?;
    let mut body = Map::new();
    for (name, field) in [
        ("touser", "to_user"),
        ("toparty", "to_party"),
        ("totag", "to_tag"),
        ("agentid", "agent_id"),
    ] {
        put(&mut body, name, making.text(field, &default(field))?);
    }
    body.insert("safe".into(), "0".into());
    let kind = match making.of.text("message_type") {
        "markdown" => "markdown",
        _ => "text",
    };
    body.insert("msgtype".into(), kind.into());
    let message = making.text("message", &default("message"))?;
    for other in ["text", "markdown"] {
        let content = if other == kind { message.as_str() } else { "" };
        body.insert(other.into(), json!({"content": content}));
    }
    let ask = format!(
        "{api}gettoken?corpid={}&corpsecret={}",
        escaped(&company),
        escaped(&secret)
    );
    making.mask.borrow_mut().add(&secret);
    Ok(Way::Talk(Box::new(Wechat {
        api,
        ask,
        body: body.into(),
        stage: Stage::Begin,
    })))
}

impl Talk for Wechat {
    fn next(&mut self, answer: Option<Answer>) -> Result<Next, Fault> {
        let said = match &answer {
            None => Value::Null,
            Some(answer) => {
                by_status(answer)?;
                answer.json().ok_or_else(|| Fault {
                    again: true,
                    ..Fault::refused("WeChat answers no JSON")
                })?
            }
        };
        match self.stage {
            Stage::Begin => {
                self.stage = Stage::Token;
                Ok(Next::Ask(Request {
                    method: "GET",
                    url: self.ask.clone(),
                    headers: Vec::new(),
                    body: Payload::None,
                }))
            }
            Stage::Token => {
                let token = said["access_token"].as_str().unwrap_or_default();
                if token.is_empty() {
                    let why = format!("WeChat gives no token: {}", said["errmsg"]);
                    return Err(Fault::refused(why));
                }
                self.stage = Stage::Sent;
                let url = format!("{}message/send?access_token={}", self.api, escaped(token));
                Ok(Next::Ask(Request::post(url, self.body.take())))
            }
            Stage::Sent => match said["errcode"].as_i64() {
                Some(0) | None => Ok(Next::Done),
                Some(code) => Err(Fault {
                    again: code == TOKEN_EXPIRED,
                    ..Fault::refused(format!("WeChat says: {}", said["errmsg"]))
                }),
            },
        }
    }
}
