//! Tables: what `get` shows of objects, one row each.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{age, jsonpath::JsonPath, object};

/// Columns that one definition may add.
const COLUMNS_MAX: usize = 64;

/// A column of a table.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) type_: String,
    pub(crate) format: String,
    pub(crate) description: String,
    /// Columns above zero are shown only when more is asked for.
    pub(crate) priority: i64,
    pub(crate) cell: Cell,
}

/// Where the value of a cell comes from.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Path(JsonPath),
    Computed(fn(&Value, Timestamp) -> Value),
}

/// How much of each object comes with its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    Nothing,
    Metadata,
    Object,
}

impl Column {
    /// Returns a column that the server itself computes.
    pub(crate) fn computed(
        name: &str,
        type_: &str,
        priority: i64,
        description: &str,
        cell: fn(&Value, Timestamp) -> Value,
    ) -> Column {
        Column {
            name: name.to_owned(),
            type_: type_.to_owned(),
            format: if name == "Name" { "name" } else { "" }.to_owned(),
            description: description.to_owned(),
            priority,
            cell: Cell::Computed(cell),
        }
    }

    /// Returns the column that every table begins with.
    pub(crate) fn name() -> Column {
        const DESCRIPTION: &str =
            "Name of the object, unique among those of its kind and namespace.";
        Column::computed("Name", "string", 0, DESCRIPTION, |object, _| json!(object::name(object)))
    }

    /// Returns the column that most tables end with.
    pub(crate) fn age() -> Column {
        const DESCRIPTION: &str = "Time since the object was created.";
        Column::computed("Age", "string", 0, DESCRIPTION, |object, now| {
            json!(age::since(object::text(object, "creationTimestamp"), now))
        })
    }

    /// Reads the columns of a version of a definition; those whose path is unreadable are named.
    pub(crate) fn defined(version: &Value) -> (Vec<Column>, Vec<(usize, String)>) {
        let mut columns = vec![Column::name()];
        let mut problems = Vec::new();
        let defined = version["additionalPrinterColumns"].as_array();
        for (index, column) in defined.into_iter().flatten().enumerate().take(COLUMNS_MAX) {
            let text = |field: &str| column[field].as_str().unwrap_or_default().to_owned();
            if !text("jsonPath").starts_with('.') {
                problems.push((index, "must be a simple json path starting with .".to_owned()));
                continue;
            }
            match JsonPath::parse(&text("jsonPath")) {
                Ok(path) => columns.push(Column {
                    name: text("name"),
                    type_: text("type"),
                    format: text("format"),
                    description: text("description"),
                    priority: column["priority"].as_i64().unwrap_or_default(),
                    cell: Cell::Path(path),
                }),
                Err(error) => problems.push((index, error.to_string())),
            }
        }
        if defined.is_none_or(Vec::is_empty) {
            columns.push(Column { type_: "date".to_owned(), ..Column::age() });
        }
        (columns, problems)
    }

    fn definition(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.type_,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        })
    }

    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let path = match &self.cell {
            Cell::Computed(compute) => return compute(object, now),
            Cell::Path(path) => path,
        };
        match path.first(object) {
            None | Some(Value::Null) => Value::Null,
            Some(value) => self.shown(value, now),
        }
    }

    /// Returns a value as the type of its column asks for; one of another type is not shown.
    fn shown(&self, value: &Value, now: Timestamp) -> Value {
        let number = |value: &Value| value.as_f64();
        match (self.type_.as_str(), value) {
            ("string", Value::String(_)) => value.clone(),
            ("string", other) => Value::String(other.to_string()),
            ("integer", Value::Number(n)) if n.is_f64() => {
                number(value).map_or(Value::Null, |n| json!(n.trunc() as i64))
            }
            ("integer" | "number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
            ("date", Value::String(moment)) => json!(age::since(moment, now)),
            _ => Value::Null,
        }
    }
}

/// Returns the definitions of columns.
pub(crate) fn definitions(columns: &[Column]) -> Value {
    columns.iter().map(Column::definition).collect()
}

/// Returns the row of an object.
pub(crate) fn row(
    columns: &[Column],
    object: Value,
    include: Include,
    version: &str,
    now: Timestamp,
) -> Value {
    let cells: Vec<Value> = columns.iter().map(|column| column.cell(&object, now)).collect();
    let mut row = Map::from_iter([("cells".to_owned(), Value::Array(cells))]);
    match include {
        Include::Nothing => {
            row.insert("object".to_owned(), Value::Null);
        }
        Include::Metadata => {
            let mut object = metadata_only(&object);
            object["apiVersion"] = json!(version);
            row.insert("object".to_owned(), object);
        }
        Include::Object => {
            row.insert("object".to_owned(), object);
        }
    }
    Value::Object(row)
}

/// Returns what stands for an object of which only the metadata is asked for.
pub(crate) fn metadata_only(object: &Value) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1",
        "kind": "PartialObjectMetadata",
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}
