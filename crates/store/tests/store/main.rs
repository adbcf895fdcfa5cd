//! What the store promises, through its public API.

/// Runs each of these tests on both engines.
macro_rules! on_both_engines {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::world::store().await).await;
            })+
        }

        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::world::postgres_store().await).await;
            })+
        }
    };
}

mod accepting;
mod announcing;
mod attachments;
mod beginnings;
mod client_calls;
mod connections;
mod documents;
mod duplicates;
mod faults;
mod fences;
mod fewer;
mod hooks;
mod interleaving;
mod leaving;
mod polls;
mod postgres_alone;
mod postgres_away;
mod postgres_copies;
mod postgres_opening;
mod postgres_others;
mod postgres_replaced;
mod providers;
mod retention;
mod runs;
mod schedules;
mod schemas;
mod small_tables;
mod snapshots;
mod spending;
mod syncs;
mod world;
