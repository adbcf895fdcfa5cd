//! Folders of code beside the same thing without a process in between.

mod boot;
mod memory;
mod route;
mod saved;
mod source;
mod tools;

use crate::{Bench, measure::Row};
use anyhow::Result;

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = tools::measure(bench).await?;
    rows.extend(route::measure(bench).await?);
    rows.extend(boot::measure(bench).await?);
    rows.extend(saved::measure(bench).await?);
    rows.extend(memory::measure(bench).await?);
    Ok(rows)
}
