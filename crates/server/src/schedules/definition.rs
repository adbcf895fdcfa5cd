//! What a schedule is made of, as it is stored, and the message and run that it starts.

use super::When;
use crate::{app::App, ceilings};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tercel_sdk::Brief;
use tercel_store::{
    Accept, Item, NewMessage, NewTask, Schedule, SessionRef, Uuid,
    accept::{Busy, Fewer},
    now,
};

const DAY: i64 = 86_400_000_000;
/// What its runs are counted under.
const ORIGIN: &str = "schedule";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    pub when: When,
    /// From when its intervals are counted.
    pub anchor: i64,
    /// The channel's bot when absent, else `default`.
    pub bot_id: Option<String>,
    pub client_id: String,
    /// Empty: the place has one conversation.
    pub thread: String,
    pub prompt: String,
    pub execution_config: Option<Brief>,
    /// Raises a notice when times were missed.
    pub notify_missed: bool,
}

impl Definition {
    /// # Errors
    /// Says that the stored one cannot be read, and why.
    pub fn read(schedule: &Schedule) -> Result<Self, String> {
        serde_json::from_str(&schedule.definition)
            .map_err(|error| format!("Its stored definition cannot be read: {error}"))
    }

    /// The message and the run of one time.
    pub fn accept(&self, app: &Arc<App>, schedule: &Schedule, due_at: Option<i64>) -> Accept {
        let catalog = app.catalog();
        let channel = catalog.channels.get(&self.client_id);
        let bot_id = self.bot(app);
        let bot = catalog.bots.get(&bot_id);
        let brief = self.execution_config.as_ref();
        let model = brief.and_then(|brief| brief.model.as_deref()).or(bot.and_then(|bot| bot.model.as_deref()));
        let (_, rehearse) = app.model_of(model);
        let channel_id = channel.map(|channel| channel.id);
        let due = due_at.map(crate::api::time::rfc3339);
        let ceilings = ceilings::of_run(app, &bot_id, ORIGIN, &self.client_id, rehearse);
        let item = Item {
            session: SessionRef::Key {
                client_id: self.client_id.clone(),
                bot_id: bot_id.clone(),
                thread: self.thread.clone(),
                channel_id,
            },
            message: NewMessage {
                id: Uuid::now_v7(),
                role: "user",
                content: self.prompt.clone(),
                source: Some(ORIGIN.into()),
                trusted: true,
                hops: 0,
                metadata: Some(serde_json::json!({"schedule_id": schedule.id, "due_at": due}).to_string()),
                attachments: Vec::new(),
            },
            task: Some(NewTask {
                id: Uuid::now_v7(),
                bot_id,
                channel_id,
                origin: ORIGIN.into(),
                execution_config: brief.and_then(|brief| serde_json::to_string(brief).ok()),
                sealed_target: schedule.sealed_target.clone(),
                rehearse,
                fewer: Fewer::default(),
            }),
            ceilings,
            busy: Busy::Enqueue,
            shown: Vec::new(),
        };
        let dedupe = due_at.map(|at| (format!("schedule/{}/{at}", schedule.id), now() + 30 * DAY));
        Accept { dedupe: dedupe.into_iter().collect(), items: vec![item], ..Accept::default() }
    }

    pub fn bot(&self, app: &App) -> String {
        let catalog = app.catalog();
        let channel = catalog.channels.get(&self.client_id);
        let own = self.bot_id.clone().or_else(|| Some(channel?.bot_id.clone()));
        own.unwrap_or_else(|| crate::catalog::DEFAULT.into())
    }
}
