mod anthropic;
mod failures;
mod rehearsal;
mod repairs;
mod requests;
mod service;
mod transcripts;
