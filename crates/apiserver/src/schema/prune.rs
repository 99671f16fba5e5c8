//! Removing the fields that a schema does not know.

use serde_json::{Map, Value};

use super::Schema;
use crate::builtin;

/// Paths of unknown fields that are told at most; the rest are removed in silence.
const TOLD_MAX: usize = 100;

/// Fields that every object has, whatever its schema says.
const OBJECT_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

impl Schema {
    /// Removes unknown fields from an object; returns their paths.
    pub(crate) fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut unknown = Vec::new();
        if let Some(metadata) = object.get_mut("metadata") {
            builtin::metadata().prune_value(metadata, "metadata", &mut unknown);
        }
        if let Some(fields) = object.as_object_mut() {
            self.prune_fields(fields, "", true, &mut unknown);
        }
        unknown
    }

    fn prune_value(&self, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
        match value {
            Value::Object(fields) => self.prune_fields(fields, path, self.is_embedded, unknown),
            Value::Array(items) => {
                if let Some(schema) = &self.items {
                    for (index, item) in items.iter_mut().enumerate() {
                        schema.prune_value(item, &format!("{path}[{index}]"), unknown);
                    }
                }
            }
            _ => {}
        }
    }

    fn prune_fields(
        &self,
        fields: &mut Map<String, Value>,
        path: &str,
        is_object: bool,
        unknown: &mut Vec<String>,
    ) {
        fields.retain(|name, value| {
            if is_object && OBJECT_FIELDS.contains(&name.as_str()) {
                return true;
            }
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if let Some(schema) = self.properties.get(name).or(self.additional.as_deref()) {
                schema.prune_value(value, &path, unknown);
                return true;
            }
            let stays = self.preserves_unknown || self.allows_additional;
            if !stays && unknown.len() < TOLD_MAX {
                unknown.push(path);
            }
            stays
        });
    }
}
