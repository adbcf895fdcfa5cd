mod arguments;
mod calls;
mod context;
mod fallback;
mod run;
mod simulation;
mod support;
mod transcript;
