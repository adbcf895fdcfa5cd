//! Records that are pushed to a service: each is there once, and as it is here.

mod arriving;
mod changed;
mod dying;
mod manifest;
mod places;
mod planned;
mod records;
mod register;
mod stuck;
