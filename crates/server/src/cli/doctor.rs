//! `tercel doctor`: what is well, what is not, and what to do. It changes nothing and, but for looking at the database, sends
//! nothing.

mod configured;
mod folders;
mod isolation;
mod kept;
mod machine;
mod outside;
mod speech;
mod work;

use super::{
    client,
    terminal::{Ink, harmless, say},
};
use crate::config::{Config, Environment};
use anyhow::Result;
use std::process::ExitCode;
use tercel_store::now;

pub async fn run(environment: Environment) -> Result<ExitCode> {
    let findings = match Config::from(environment) {
        Ok(config) => examine(&config).await,
        Err(error) => vec![Finding::fail(
            "configuration",
            format!("{error:#}"),
            "Correct it in the environment, .env or tercel.toml",
        )],
    };
    say(&report(&findings, Ink::of_output()))?;
    let failed = findings.iter().any(|finding| finding.level == Level::Fail);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn examine(config: &Config) -> Vec<Finding> {
    let server = client::connect(config).await;
    let mut findings = vec![Finding::ok("configuration", "It can be read")];
    let doubts = config.doubts.iter();
    findings.extend(doubts.map(|doubt| Finding::warn("configuration", doubt, "Correct its name, or unset it")));
    findings.extend(machine::directory(&config.data_dir));
    findings.extend(machine::space(&config.data_dir));
    findings.extend(machine::disk(&config.data_dir));
    findings.push(machine::clock(&config.data_dir));
    findings.push(machine::open_files());
    findings.extend(isolation::look(config, server.is_some()).await);
    findings.push(machine::server(config, server.as_ref()).await);
    if server.is_none() {
        findings.extend(machine::ports(config));
    }
    let key = configured::Key::look(config);
    let inspected = match &config.database_url {
        Some(url) => tercel_store::inspect_postgres(url, &key.id()).await,
        None => tercel_store::inspect(&config.data_dir, &key.id()).await,
    };
    findings.extend(configured::database(config, &inspected, server.is_some()));
    let inspection = inspected.ok().flatten();
    if let Some(inspection) = &inspection
        && let Some(overview) = &inspection.overview
    {
        let works = server.is_some() && crate::hold::look(&config.data_dir).is_none();
        findings.extend(work::clock(overview.ahead));
        findings.extend(work::schedules(&overview.schedules, now(), works));
        findings.extend(work::polls(&overview.polls, &inspection.notices, now()));
        findings.extend(outside::hooks(&overview.hooks, now(), works));
        findings.extend(work::prices(overview));
        findings.extend(overview.paused.iter().map(|name| work::paused(name)));
    }
    findings.extend(outside::urls(config, server.as_ref()).await);
    findings.extend(kept::held(config));
    findings.extend(kept::backup(config, inspection.is_some()));
    findings.extend(kept::sizes(config, inspection.as_ref()));
    findings.extend(machine::changed_files(config, server.is_some()));
    findings.extend(folders::roots(config));
    findings.extend(folders::problems(server.as_ref()).await);
    findings.push(folders::python(config));
    findings.extend(configured::secrets(config, &key, inspection.as_ref()));
    findings.extend(configured::models(config, inspection.as_ref()));
    if let Some(http) = crate::ollama::client(config) {
        findings.extend(crate::ollama::offer(config, &http).await.map(|offer| Finding::ok("ollama", offer)));
    }
    findings.push(speech::look(config).await);
    findings.push(configured::api_key(config));
    findings.extend(configured::integrations(config, inspection.as_ref()));
    findings
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    level: Level,
    what: &'static str,
    detail: String,
    /// What to do about it.
    repair: Option<String>,
}

impl Finding {
    fn ok(what: &'static str, detail: impl Into<String>) -> Self {
        Self { level: Level::Ok, what, detail: detail.into(), repair: None }
    }

    fn warn(what: &'static str, detail: impl Into<String>, repair: impl Into<String>) -> Self {
        Self { level: Level::Warn, what, detail: detail.into(), repair: Some(repair.into()) }
    }

    fn fail(what: &'static str, detail: impl Into<String>, repair: impl Into<String>) -> Self {
        Self { level: Level::Fail, ..Self::warn(what, detail, repair) }
    }
}

fn report(findings: &[Finding], ink: Ink) -> String {
    let mut lines = Vec::new();
    for Finding { level, what, detail, repair } in findings {
        let mark = match level {
            Level::Ok => ink.good("ok  "),
            Level::Warn => ink.doubtful("warn"),
            Level::Fail => ink.bad("fail"),
        };
        let below = |text: &str| harmless(text).replace('\n', &format!("\n{:22}", ""));
        lines.push(format!("{mark}  {what:14}  {}", below(detail)));
        lines.extend(repair.as_ref().map(|repair| format!("{:22}→ {}", "", below(repair))));
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    lines.push(String::new());
    lines.push(match (count(Level::Fail), count(Level::Warn)) {
        (0, 0) => "All is well.".into(),
        (0, warnings) => format!("It works; worth a look: {warnings}."),
        (failures, warnings) => format!("To be mended: {failures}. Worth a look: {warnings}."),
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_what_to_do() {
        let findings = [
            Finding::ok("clock", "It is 2026"),
            Finding::warn("model", "None", "Set one\nor not"),
            Finding::fail("port", "Taken", "Take another"),
        ];
        let expected = "\
ok    clock           It is 2026
warn  model           None
                      → Set one
                      or not
fail  port            Taken
                      → Take another

To be mended: 1. Worth a look: 1.";
        assert_eq!(report(&findings, Ink::Plain), expected);
        assert!(report(&findings[..1], Ink::Plain).ends_with("All is well."));
    }

    #[tokio::test]
    async fn a_database_that_does_not_answer_is_found_and_its_password_is_not_shown() {
        let place = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut environment = Environment::default();
        environment.set("TERCEL_DATA_DIR", place.path().to_string_lossy());
        environment.set("TERCEL_LISTEN", "127.0.0.1:0");
        environment.set("DATABASE_URL", format!("postgres://me:hush@127.0.0.1:{port}/tercel"));
        let findings = examine(&Config::from(environment).unwrap()).await;
        let database = findings.iter().find(|finding| finding.what == "database").unwrap();
        assert_eq!(database.level, Level::Fail, "{database:?}");
        assert!(!format!("{findings:?}").contains("hush"), "{findings:#?}");
    }

    #[tokio::test]
    async fn a_fresh_machine_is_well_and_stays_untouched() {
        let place = tempfile::tempdir().unwrap();
        let mut environment = Environment::default();
        environment.set("TERCEL_DATA_DIR", place.path().join("data").to_string_lossy());
        environment.set("TERCEL_LISTEN", "127.0.0.1:0");
        let findings = examine(&Config::from(environment).unwrap()).await;
        assert!(findings.iter().all(|finding| finding.level != Level::Fail), "{findings:#?}");
        assert!(report(&findings, Ink::Plain).contains("LLM_BASE_URL"));
        assert!(!place.path().join("data").exists());
    }
}
