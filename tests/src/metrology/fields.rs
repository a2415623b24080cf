//! Reads JSON so that every complaint names the case and the field.

use anyhow::{Context, Result, anyhow};
use serde_json::{Map, Value};

/// An object in a file of cases, and where it stands.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    place: String,
    object: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The object `value`, called `place` in complaints.
    ///
    /// # Errors
    /// It is no object.
    pub fn new(place: impl Into<String>, value: &'a Value) -> Result<Self> {
        let place = place.into();
        let object = value.as_object().with_context(|| format!("{place}: not an object"))?;
        Ok(Self { place, object })
    }

    /// Where the field `name` stands.
    #[must_use]
    pub fn place(&self, name: &str) -> String {
        format!("{}.{name}", self.place)
    }

    /// The names of all fields.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.object.keys().map(String::as_str)
    }

    /// Any field.
    ///
    /// # Errors
    /// It is not there.
    pub fn value(&self, name: &str) -> Result<&'a Value> {
        self.object.get(name).ok_or_else(|| anyhow!("{}: missing", self.place(name)))
    }

    /// A number.
    ///
    /// # Errors
    /// It is not there, or none.
    pub fn number(&self, name: &str) -> Result<f64> {
        self.value(name)?.as_f64().with_context(|| format!("{}: not a number", self.place(name)))
    }

    /// A whole number that is not negative.
    ///
    /// # Errors
    /// It is not there, or none.
    pub fn count(&self, name: &str) -> Result<u64> {
        let number = self.number(name)?;
        // What a file writes as 13.0 is whole too.
        let whole = number >= 0.0 && number.fract() == 0.0 && number < 9e15;
        whole.then_some(number as u64).with_context(|| format!("{}: not a whole number", self.place(name)))
    }

    /// A text.
    ///
    /// # Errors
    /// It is not there, or none.
    pub fn text(&self, name: &str) -> Result<&'a str> {
        self.value(name)?.as_str().with_context(|| format!("{}: not a text", self.place(name)))
    }

    /// A list of numbers.
    ///
    /// # Errors
    /// It is not there, or none.
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>> {
        let list =
            self.value(name)?.as_array().with_context(|| format!("{}: not a list", self.place(name)))?;
        let numbers: Option<Vec<f64>> = list.iter().map(Value::as_f64).collect();
        numbers.with_context(|| format!("{}: not all numbers", self.place(name)))
    }

    /// An object.
    ///
    /// # Errors
    /// It is not there, or none.
    pub fn object(&self, name: &str) -> Result<Fields<'a>> {
        Fields::new(self.place(name), self.value(name)?)
    }

    /// An object that may be missing.
    ///
    /// # Errors
    /// It is there and no object.
    pub fn object_if_any(&self, name: &str) -> Result<Option<Fields<'a>>> {
        if self.object.contains_key(name) { self.object(name).map(Some) } else { Ok(None) }
    }
}
