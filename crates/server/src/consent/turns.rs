//! One at a time for each connection.

use super::Place;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Mutex as Turn;

/// With what is known while it is somebody's turn.
pub struct Turns<T>(Mutex<HashMap<Place, Arc<Turn<T>>>>);

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Default> Turns<T> {
    pub fn of(&self, place: &Place) -> Arc<Turn<T>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(place.clone()).or_default().clone()
    }
}
