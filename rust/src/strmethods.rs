//! Python's str methods that minijinja-contrib's pycompat lacks; all others are passed to pycompat.

use minijinja::value::{from_args, Tuple};
use minijinja::{Error, ErrorKind, State, Value};

fn invalid(text: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, text.to_string())
}

fn tuple(parts: [&str; 3]) -> Value {
    Value::from(Tuple::new(parts.into_iter().map(Value::from).collect()))
}

pub fn call(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        if let Some(result) = string_method(text, method, args) {
            return result;
        }
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args)
}

fn string_method(text: &str, method: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    Some(match method {
        "partition" => from_args(args).and_then(|(at,): (&str,)| {
            if at.is_empty() {
                return Err(invalid("empty separator"));
            }
            Ok(match text.split_once(at) {
                Some((left, right)) => tuple([left, at, right]),
                None => tuple([text, "", ""]),
            })
        }),
        "rpartition" => from_args(args).and_then(|(at,): (&str,)| {
            if at.is_empty() {
                return Err(invalid("empty separator"));
            }
            Ok(match text.rsplit_once(at) {
                Some((left, right)) => tuple([left, at, right]),
                None => tuple(["", "", text]),
            })
        }),
        "rsplit" => from_args(args).and_then(|(at, maxsplit): (Option<&str>, Option<i64>)| rsplit(text, at, maxsplit)),
        "removeprefix" => {
            from_args(args).map(|(prefix,): (&str,)| Value::from(text.strip_prefix(prefix).unwrap_or(text)))
        }
        "removesuffix" => {
            from_args(args).map(|(suffix,): (&str,)| Value::from(text.strip_suffix(suffix).unwrap_or(text)))
        }
        "index" => from_args(args).and_then(|(what,): (&str,)| {
            let at = text.find(what).ok_or_else(|| invalid("substring not found"))?;
            Ok(Value::from(text[..at].chars().count()))
        }),
        "zfill" => from_args(args).and_then(|(width,): (usize,)| {
            let missing = width.saturating_sub(text.chars().count());
            if missing > 10_000 {
                return Err(invalid("zfill: too wide"));
            }
            let (sign, digits) = match text.chars().next() {
                Some(c @ ('+' | '-')) => (c.to_string(), &text[1..]),
                _ => (String::new(), text),
            };
            Ok(Value::from(format!("{sign}{}{digits}", "0".repeat(missing))))
        }),
        _ => return None,
    })
}

fn rsplit(text: &str, at: Option<&str>, maxsplit: Option<i64>) -> Result<Value, Error> {
    let maxsplit = maxsplit.and_then(|n| usize::try_from(n).ok());
    let mut parts: Vec<&str> = match (at, maxsplit) {
        (Some(""), _) => return Err(invalid("empty separator")),
        (Some(at), Some(n)) => text.rsplitn(n.saturating_add(1), at).collect(),
        (Some(at), None) => text.rsplit(at).collect(),
        (None, maxsplit) => {
            let mut parts = vec![];
            let mut rest = text.trim_end();
            while !rest.is_empty() {
                let cut = rest.rfind(char::is_whitespace).filter(|_| maxsplit.map_or(true, |n| parts.len() < n));
                match cut {
                    Some(i) => {
                        let start = i + rest[i..].chars().next().map_or(1, char::len_utf8);
                        parts.push(&rest[start..]);
                        rest = rest[..i].trim_end();
                    }
                    None => {
                        parts.push(rest.trim_start());
                        break;
                    }
                }
            }
            parts
        }
    };
    parts.reverse();
    Ok(Value::from(parts.into_iter().map(Value::from).collect::<Vec<_>>()))
}
