//! Filling in what a schema has defaults for.

use serde_json::Value;

use super::Schema;

impl Schema {
    /// Fills in defaults. A null where none is allowed counts as absent.
    pub(crate) fn default(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|name, value| {
                    let schema = self.properties.get(name).or(self.additional.as_deref());
                    !value.is_null() || schema.is_none_or(Schema::takes_null)
                });
                for (name, schema) in &self.properties {
                    if let Some(default) = &schema.default
                        && !fields.contains_key(name)
                    {
                        fields.insert(name.clone(), default.clone());
                    }
                }
                for (name, value) in fields.iter_mut() {
                    if let Some(schema) = self.properties.get(name).or(self.additional.as_deref()) {
                        schema.default(value);
                    }
                }
            }
            Value::Array(items) => {
                if let Some(schema) = &self.items {
                    items.iter_mut().for_each(|item| schema.default(item));
                }
            }
            _ => {}
        }
    }
}
