//! Writes of any kind as one type, and together with others of their kind.

use crate::{Error, Result, Wake, engine::Connection};
use std::{future::Future, pin::Pin};
use tokio::sync::oneshot;
use uuid::Uuid;

/// One kind of write.
pub(crate) trait Write: Send + Sync + Sized + 'static {
    type Answer: Send + 'static;
    /// Who has work to do once this is committed.
    const WAKES: &'static [Bell] = &[];

    /// The task whose followers have something to read once this is committed.
    fn followed(&self) -> Option<Uuid> {
        None
    }

    /// Runs the writes in an open transaction. Answers in the order of `group`; an answer that is an error has changed
    /// nothing and does not undo the others.
    fn run(
        group: &[&Self],
        connection: &mut Connection,
    ) -> impl Future<Output = Result<Vec<Result<Self::Answer>>>> + Send;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bell {
    Tasks,
    Outbox,
    Syncs,
}

/// A write with the place for its answer, whatever its kind.
pub(super) trait Job: Send {
    fn kind(&self) -> std::any::TypeId;
    fn join(self: Box<Self>) -> Box<dyn Group>;
    fn any(self: Box<Self>) -> Box<dyn std::any::Any>;
    fn fail(self: Box<Self>, error: Error);
}

/// Writes of one kind that are committed together.
pub(super) trait Group: Send {
    fn push(&mut self, job: Box<dyn Job>);
    fn len(&self) -> usize;
    /// Runs all of them, or the i-th alone; keeps the answers.
    fn run<'a>(
        &'a mut self,
        connection: &'a mut Connection,
        only: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;
    /// Forgets the answers of a transaction that was rolled back.
    fn forget(&mut self, only: Option<usize>);
    fn fail(&mut self, i: usize, error: Error);
    /// Wakes who has something to do or to read now, and tells the callers.
    fn answer(self: Box<Self>, wake: &Wake);
}

pub(super) struct Asked<W: Write> {
    pub write: W,
    pub reply: oneshot::Sender<Result<W::Answer>>,
}

struct Kind<W: Write> {
    asked: Vec<Asked<W>>,
    answers: Vec<Option<Result<W::Answer>>>,
}

impl<W: Write> Job for Asked<W> {
    fn kind(&self) -> std::any::TypeId {
        std::any::TypeId::of::<W>()
    }

    fn join(self: Box<Self>) -> Box<dyn Group> {
        Box::new(Kind { asked: vec![*self], answers: vec![None] })
    }

    fn any(self: Box<Self>) -> Box<dyn std::any::Any> {
        self
    }

    fn fail(self: Box<Self>, error: Error) {
        let _ = self.reply.send(Err(error));
    }
}

impl<W: Write> Group for Kind<W> {
    fn push(&mut self, job: Box<dyn Job>) {
        self.asked.push(*job.any().downcast::<Asked<W>>().expect("jobs are grouped by their kind"));
        self.answers.push(None);
    }

    fn len(&self) -> usize {
        self.asked.len()
    }

    fn run<'a>(
        &'a mut self,
        connection: &'a mut Connection,
        only: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>> {
        Box::pin(async move {
            let range = only.map_or(0..self.asked.len(), |i| i..i + 1);
            let group: Vec<&W> = self.asked[range.clone()].iter().map(|asked| &asked.write).collect();
            let answers = W::run(&group, connection).await?;
            for (i, answer) in range.zip(answers) {
                self.answers[i] = Some(answer);
            }
            Ok(())
        })
    }

    fn forget(&mut self, only: Option<usize>) {
        for i in only.map_or(0..self.answers.len(), |i| i..i + 1) {
            self.answers[i] = None;
        }
    }

    fn fail(&mut self, i: usize, error: Error) {
        self.answers[i] = Some(Err(error));
    }

    fn answer(self: Box<Self>, wake: &Wake) {
        if self.answers.iter().any(|answer| matches!(answer, Some(Ok(_)))) {
            for bell in W::WAKES {
                match bell {
                    Bell::Tasks => wake.tasks.notify_one(),
                    Bell::Outbox => wake.outbox.notify_one(),
                    Bell::Syncs => wake.syncs.notify_one(),
                }
            }
        }
        for (asked, answer) in self.asked.into_iter().zip(self.answers) {
            let answer = answer.unwrap_or(Err(Error::Stopping));
            if let (Ok(_), Some(task)) = (&answer, asked.write.followed()) {
                // Nobody follows it: that is no error.
                let _ = wake.steps.send(task);
            }
            // Nobody waits any more: the write is committed all the same.
            let _ = asked.reply.send(answer);
        }
    }
}

/// Sorts writes by their kinds; the kinds stand in the order of their first writes.
pub(super) fn sort(jobs: impl Iterator<Item = Box<dyn Job>>) -> Vec<Box<dyn Group>> {
    let mut groups: Vec<(std::any::TypeId, Box<dyn Group>)> = Vec::new();
    for job in jobs {
        let kind = job.kind();
        match groups.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, group)) => group.push(job),
            None => groups.push((kind, job.join())),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}
