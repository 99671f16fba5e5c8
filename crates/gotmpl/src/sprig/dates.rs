//! Times and durations that need no clock. The local zone is UTC.

use std::any::Any as StdAny;
use std::borrow::Cow;
use std::rc::Rc;

use golang::time::{Duration, Time};

use super::{Entry, fixed, int, lossy, text};
use crate::function::{Call, Fault, Param};
use crate::value::{Field, Method, Object, Value};

type Result = std::result::Result<Value, Fault>;

/// The type as Go names it.
const TIME: Param = Param::Named("time.Time");

pub(super) fn functions() -> Vec<Entry> {
    use Param::{Any, String};
    vec![
        fixed("toDate", &[String, String], |_, args| {
            Ok(value(Time::parse(text(args, 0), text(args, 1)).unwrap_or_default()))
        }),
        fixed("mustToDate", &[String, String], |_, args| {
            let time = Time::parse(text(args, 0), text(args, 1));
            time.map(value).map_err(|error| Fault::message(error.to_string()))
        }),
        fixed("unixEpoch", &[TIME], |_, args| Ok(time(&args[0]).unix().to_string().into())),
        fixed("mustDateModify", &[String, TIME], modify),
        fixed("must_date_modify", &[String, TIME], modify),
        fixed("durationRound", &[Any], |_, args| duration_round(&args[0])),
    ]
}

fn modify(_: &mut Call<'_>, args: &[Value]) -> Result {
    let duration: std::result::Result<Duration, _> = lossy(text(args, 0)).parse();
    let duration = duration.map_err(|error| Fault::message(error.to_string()))?;
    Ok(value(time(&args[1]).add(duration)))
}

/// Returns the duration in its largest unit that fits more than once, without the rest.
fn duration_round(value: &Value) -> Result {
    const UNITS: [(&str, u64); 6] = [
        ("y", 365 * 24 * 3600),
        ("mo", 30 * 24 * 3600),
        ("d", 24 * 3600),
        ("h", 3600),
        ("m", 60),
        ("s", 1),
    ];
    let nanos = match value {
        Value::String(text) => {
            lossy(text).parse().map_or(0, |duration: Duration| duration.as_nanos())
        }
        Value::Int64(nanos) => *nanos,
        Value::Object(object) if is_time(object.as_ref()) => {
            return Err(Fault::message(
                "the time since a date is unknown: templates have no clock",
            ));
        }
        _ => 0,
    };
    let nanos = nanos.unsigned_abs();
    let unit = UNITS.iter().find(|(_, seconds)| nanos > seconds * 1_000_000_000);
    Ok(match unit {
        Some((name, seconds)) => format!("{}{name}", nanos / (seconds * 1_000_000_000)).into(),
        None => "0s".into(),
    })
}

// === Values ===

struct Date(Time);

fn value(time: Time) -> Value {
    Value::Object(Rc::new(Date(time)))
}

/// Returns the time of an argument; its type was checked before the call.
fn time(value: &Value) -> Time {
    match value {
        Value::Object(object) => date(object.as_ref()).map(|date| date.0.clone()),
        _ => None,
    }
    .unwrap_or_default()
}

fn date(object: &dyn Object) -> Option<&Date> {
    object.as_any()?.downcast_ref()
}

fn is_time(object: &dyn Object) -> bool {
    date(object).is_some()
}

impl Object for Date {
    fn type_name(&self) -> Cow<'static, str> {
        "time.Time".into()
    }

    fn fields(&self) -> Vec<Field> {
        Vec::new()
    }

    fn method(&self, name: &str) -> Option<Method> {
        use Param::{Int, String};
        let time = self.0.clone();
        let ((year, _, day), (hour, minute, second)) = (time.date(), time.clock());
        let value = match name {
            "AddDate" => {
                let body = move |_: &mut Call<'_>, args: &[Value]| {
                    Ok(value(time.add_date(int(args, 0), int(args, 1), int(args, 2))))
                };
                return Some(Method { params: &[Int, Int, Int], body: Rc::new(body) });
            }
            "Format" => {
                let body = move |call: &mut Call<'_>, args: &[Value]| {
                    let layout = text(args, 0);
                    call.run.charge(layout.len() as u64)?;
                    Ok(Value::string(time.format(layout)))
                };
                return Some(Method { params: &[String], body: Rc::new(body) });
            }
            "Year" => Value::Int(year),
            "Day" => Value::Int(day),
            "YearDay" => Value::Int(time.year_day()),
            "Hour" => Value::Int(hour),
            "Minute" => Value::Int(minute),
            "Second" => Value::Int(second),
            "Nanosecond" => Value::Int(time.nanosecond().into()),
            "Unix" => Value::Int64(time.unix()),
            "IsZero" => time.is_zero().into(),
            "String" => time.to_string().into(),
            _ => return None,
        };
        Some(Method { params: &[], body: Rc::new(move |_, _| Ok(value.clone())) })
    }

    fn text(&self) -> Option<String> {
        Some(self.0.to_string())
    }

    fn json(&self) -> Option<String> {
        let text = self.0.format(b"2006-01-02T15:04:05.999999999Z07:00");
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    fn as_any(&self) -> Option<&dyn StdAny> {
        Some(self)
    }
}
