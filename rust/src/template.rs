//! Chat templates: minijinja configured to render like Jinja2 in transformers. Templates are supplied by models and may
//! be hostile: they cannot read files, and their work, depth, output and memory are limited.

use crate::confined::{self, Outcome, Verdict};
use crate::pyformat::{python_repr, python_str, to_json, JsonStyle};
use crate::watch::StopCheck;
use crate::{bytes, catch, guard, strmethods, Failure, Text, FAILED, RAISED, STOPPED};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};
use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// About ten thousand messages with a usual template.
const FUEL: u64 = 10_000_000;
/// Maximum bytes of output, in addition to the bytes for the size of the context.
const MAX_OUTPUT: usize = 16 << 20;
const MAX_DEPTH: usize = 200;
/// Memory limit of a render, in addition to the memory for the size of the context.
const MAX_MEMORY: usize = 128 << 20;
/// Time limit of a render, in addition to the time for the size of the context. Fuel does not bound the time of a
/// single instruction: to compare two lists of sixty levels whose halves are shared takes forever.
const MAX_TIME: Duration = Duration::from_secs(2);
/// Bytes of context per additional second.
const BYTES_PER_SECOND: usize = 4 << 20;

thread_local! {
    static NOW: Cell<Option<i64>> = const { Cell::new(None) };
    static RAISED_TEXT: RefCell<Option<String>> = const { RefCell::new(None) };
}

pub struct Template {
    env: Environment<'static>,
    verdict: Verdict, // set if a render had to be stopped: no later one is started
}

/// The mlxk_template of the C ABI.
pub struct Handle(Arc<Template>);

fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, text.into())
}

/// Replaces `{% generation %}`, which marks the text of the assistant for training, by a plain block.
fn rewrite(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some(at) = rest.find("{%") {
        let Some(len) = rest[at..].find("%}") else { break };
        let inner = &rest[at + 2..at + len];
        let word = inner.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        out.push_str(&rest[..at + 2]);
        out.push_str(&match word {
            "generation" => inner.replace("generation", "with"),
            "endgeneration" => inner.replace("endgeneration", "endwith"),
            _ => inner.to_string(),
        });
        out.push_str("%}");
        rest = &rest[at + len + 2..];
    }
    out.push_str(rest);
    out
}

fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    env.set_syntax(syntax.expect("the standard syntax"));
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(MAX_DEPTH);
    env.set_unknown_method_callback(strmethods::call);
    env.set_formatter(|out, _, value| {
        if confined::cancelled() {
            return Err(invalid("the render was cancelled"));
        }
        if value.is_undefined() {
            return Ok(());
        }
        out.write_str(&python_str(value)?).map_err(Error::from)
    });
    env.add_filter("tojson", tojson);
    env.add_filter("string", |value: &Value| -> Result<Value, Error> {
        if value.kind() == ValueKind::String {
            Ok(value.clone())
        } else {
            python_str(value).map(Value::from)
        }
    });
    env.add_filter("pprint", |value: &Value| python_repr(value));
    env.add_filter("wordcount", minijinja_contrib::filters::wordcount);
    env.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    env.add_test("callable", |value: &Value| {
        value.as_object().is_some() && !matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable)
    });
    env.add_function("raise_exception", |message: &Value| -> Result<Value, Error> {
        let text = python_str(message)?;
        RAISED_TEXT.with(|slot| *slot.borrow_mut() = Some(text.clone()));
        Err(invalid(text))
    });
    env.add_function("strftime_now", strftime_now);
    env
}

fn tojson(value: &Value, indent: Option<Value>, options: Kwargs) -> Result<String, Error> {
    let indent = match indent {
        Some(indent) => Some(indent),
        None => options.get::<Option<Value>>("indent")?,
    };
    let indent = match indent {
        Some(v) if !v.is_none() && !v.is_undefined() => Some(match v.as_str() {
            Some(text) if text.len() <= 64 => text.to_string(),
            _ => " ".repeat(v.as_usize().filter(|n| *n <= 64).ok_or_else(|| invalid("tojson: bad indent"))?),
        }),
        _ => None,
    };
    let separators = options.get::<Option<Vec<String>>>("separators")?;
    let style = JsonStyle {
        ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        item_separator: match &separators {
            Some(pair) if pair.len() == 2 => pair[0].clone(),
            Some(_) => return Err(invalid("tojson: separators must be a pair")),
            None if indent.is_some() => ",".into(),
            None => ", ".into(),
        },
        key_separator: separators.map_or(": ".into(), |pair| pair[1].clone()),
        indent,
    };
    options.assert_all_used()?;
    to_json(value, &style)
}

fn strftime_now(format: &str, rest: Rest<Value>) -> Result<String, Error> {
    if !rest.is_empty() {
        return Err(invalid("strftime_now accepts one argument, the format"));
    }
    let now = match NOW.with(|now| now.get()) {
        Some(seconds) => {
            jiff::Timestamp::from_second(seconds).map_err(|e| invalid(e.to_string()))?.to_zoned(jiff::tz::TimeZone::UTC)
        }
        None => jiff::Zoned::now(),
    };
    let config = jiff::fmt::strtime::Config::new().lenient(true);
    jiff::fmt::strtime::BrokenDownTime::from(&now)
        .to_string_with_config(&config, format)
        .map_err(|e| invalid(e.to_string()))
}

fn to_value(json: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::from(()),
        Json::Bool(b) => Value::from(b),
        Json::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => Value::from(i),
            (_, Some(u)) => Value::from(u),
            _ => Value::from(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(s) => Value::from(s),
        Json::Array(list) => Value::from(list.into_iter().map(to_value).collect::<Vec<_>>()),
        Json::Object(map) => Value::from_pairs(map.into_iter().map(|(k, v)| (k, to_value(v)))),
    }
}

/// Collects text up to a limit.
struct Bounded {
    text: Vec<u8>,
    limit: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if self.text.len() + part.len() > self.limit {
            return Err(io::Error::other(format!("the rendered text exceeds {} bytes", self.limit)));
        }
        self.text.extend_from_slice(part);
        Ok(part.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn describe(error: &Error) -> String {
    let mut text = match error.detail() {
        Some(detail) => format!("{}: {}", error.kind(), detail),
        None => error.kind().to_string(),
    };
    if let Some(line) = error.line() {
        text.push_str(&format!(" (template line {line})"));
    }
    text
}

impl Template {
    fn compile(source: &[u8]) -> Result<Template, Failure> {
        let source = std::str::from_utf8(source).map_err(|_| "not UTF-8".to_string())?;
        let mut env = environment();
        env.add_template_owned("chat", rewrite(source)).map_err(|e| describe(&e))?;
        Ok(Template { env, verdict: Verdict::default() })
    }

    fn render(&self, context: &[u8], now: i64) -> Result<String, Failure> {
        NOW.with(|slot| slot.set((now >= 0).then_some(now)));
        let mut out = Bounded { text: Vec::new(), limit: MAX_OUTPUT + 4 * context.len() };
        let context = to_value(serde_json::from_slice(context)?);
        let result = self.env.get_template("chat").and_then(|t| t.render_captured_to(context, &mut out).map(drop));
        match result {
            Ok(()) => Ok(String::from_utf8(out.text)?),
            Err(error) => Err(match RAISED_TEXT.with(|slot| slot.borrow_mut().take()) {
                Some(text) => Failure(RAISED, text),
                None => describe(&error).into(),
            }),
        }
    }
}

fn limit_exceeded(budget: &str) -> Failure {
    Failure(FAILED, format!("the template exceeds its {budget} limit"))
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_template_compile(
    source: *const u8,
    size: usize,
    out: *mut *mut Handle,
    error: *mut Text,
) -> i32 {
    guard(error, || {
        let source = bytes(source, size).to_vec();
        let compile = move || Template::compile(&source);
        match confined::run(MAX_MEMORY + 64 * size, MAX_TIME, StopCheck::never(), &Verdict::default(), compile) {
            Outcome::Finished(template) => *out = Box::into_raw(Box::new(Handle(Arc::new(template?)))),
            Outcome::Spent(budget) => return Err(limit_exceeded(budget)),
            Outcome::Abandoned => return Err(Failure(STOPPED, "stopped".into())),
        }
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_template_free(template: *mut Handle) {
    if !template.is_null() {
        let _ = catch(|| drop(Box::from_raw(template)));
    }
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_template_render(
    template: *const Handle,
    context: *const u8,
    size: usize,
    now: i64,
    check: StopCheck,
    out: *mut Text,
    error: *mut Text,
) -> i32 {
    guard(error, || {
        let template = (&*template).0.clone();
        if let Some(budget) = template.verdict.spent() {
            return Err(limit_exceeded(budget));
        }
        let context = bytes(context, size).to_vec();
        let job = template.clone();
        let render = move || job.render(&context, now);
        let time = MAX_TIME + Duration::from_secs((size / BYTES_PER_SECOND) as u64);
        match confined::run(MAX_MEMORY + 64 * size, time, check, &template.verdict, render) {
            Outcome::Finished(text) => *out = Text::from_string(text?),
            Outcome::Spent(budget) => return Err(limit_exceeded(budget)),
            Outcome::Abandoned => return Err(Failure(STOPPED, "stopped".into())),
        }
        Ok(())
    })
}
