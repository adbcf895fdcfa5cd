//! What the server works in: made once at start, handed to everything.

use crate::{
    announce::{self, Announcer},
    api::Access,
    backup::Backups,
    bot,
    catalog::{Catalog, Values},
    ceilings::Ceilings,
    config::Config,
    consent::{supply::Granted, watch::Consents},
    emission::Emission,
    folders::{Folders, shipped::Shipping, standing::Said},
    hold::Hold,
    hooks::Hooks,
    live::Live,
    outbound::{self, HostPort, Outbound, Scope},
    outbox::Senders,
    places::Places,
    processes::Processes,
    providers::Providers,
    receiving::Readers,
    registering::Registering,
    runner::Runs,
    tokens::{Kept, Supply},
    watchman::Refused,
    webhook::Refusals,
};
use anyhow::{Context, Result};
use serde_json::Value;
use std::{
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};
use tercel_models::Model;
use tercel_sdk::{
    Host, Integration, Kind, Mode, Target, Trust,
    grant::Tokens,
    host::{self, Ids},
    rate::Limiter,
};
use tercel_store::{DirectoryLock, NewNotice, PostgresOptions, Sealer, Store, Uuid};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Where all targets are sealed: a target is copied from session to task to outbox row.
pub const TARGET: &str = "target";

pub struct App {
    pub config: Config,
    pub store: Arc<Store>,
    pub sealer: Sealer,
    pub outbound: Arc<Outbound>,
    /// Answer for bots whose model is not the rehearsal.
    pub providers: Providers,
    pub rehearsal: Arc<dyn Model>,
    pub runs: Runs,
    pub live: Live,
    pub hooks: Hooks,
    pub emission: Emission,
    pub refusals: Refusals,
    pub readers: Arc<Readers>,
    pub access: Access,
    pub senders: Senders,
    pub places: Places,
    pub ceilings: Ceilings,
    pub announcer: Announcer,
    pub refused: Refused,
    pub tokens: Arc<Kept>,
    pub consents: Consents,
    /// Rung when a schedule was made, changed or resumed.
    pub schedules: Notify,
    /// Rung when settings were changed.
    pub polls: Notify,
    pub registering: Registering,
    /// Rung when somebody changed when a connection is kept in step.
    pub syncs: Notify,
    pub sync_turns: Limiter,
    pub retests: crate::connection::retest::Bell,
    pub processes: Processes,
    pub hold: Hold,
    pub backups: Backups,
    /// Who keeps the bytes of an attachment reads, who lets some go writes.
    pub files: tokio::sync::RwLock<()>,
    /// Everything that must end before the process does.
    pub work: TaskTracker,
    pub stopping: CancellationToken,
    pub started: Instant,
    pub folders: Folders,
    catalog: RwLock<Arc<Catalog>>,
    /// One reading at a time: an older catalog must not replace a newer one.
    reloading: tokio::sync::Mutex<()>,
    _lock: DirectoryLock,
}

/// For whom and how a host is made.
#[derive(Default)]
pub struct Call {
    /// Its name, when somebody gave it one already.
    pub id: Option<Uuid>,
    pub ids: Ids,
    pub mode: Mode,
    pub trust: Trust,
    pub idempotency_key: Option<String>,
    pub timeout: Option<Duration>,
    pub cancel: CancellationToken,
    /// Where it is noted what the service answered.
    pub seen: Option<Arc<outbound::Seen>>,
}

impl App {
    /// Opens the data directory and reads what is there. Nothing runs yet.
    pub async fn open(config: Config, integrations: Vec<Integration>) -> Result<Arc<Self>> {
        Self::opened(config, integrations, false).await
    }

    /// The same for whoever loads the folders next: none counts as gone before somebody has looked.
    pub async fn open_before_folders(config: Config, integrations: Vec<Integration>) -> Result<Arc<Self>> {
        Self::opened(config, integrations, true).await
    }

    async fn opened(config: Config, integrations: Vec<Integration>, folders_come: bool) -> Result<Arc<Self>> {
        let lock = DirectoryLock::take(&config.data_dir)?;
        // Meanwhile the database is opened.
        let shipping = folders_come.then(|| Shipping::begin(&config.data_dir));
        let sealer = config.sealer()?;
        sealer.check_directory(&config.data_dir)?;
        let store = match &config.database_url {
            Some(url) => {
                let copies = Some(config.data_dir.clone());
                let store = Store::open_postgres(url, PostgresOptions { copies, ..PostgresOptions::default() }).await?;
                sealer.check_database(&store).await?;
                store
            }
            None => Store::open(&lock, &config.data_dir).await?,
        };
        crate::sealing::settle(&store, &sealer, &config.data_dir).await?;
        let stored = store.bots().await?;
        for bot in bot::seeds(&config.data_dir.join("bots"))? {
            if stored.iter().all(|row| row.id != bot.id) {
                store.put_bot(&bot.id, serde_json::to_string(&bot)?).await?;
                store.close_notice(&bot::missing(&bot.id)).await?;
            }
        }
        let folders = Folders::new(integrations, Said::read(&store).await?, config.tier);
        if let Some(shipping) = shipping {
            folders.will_be_loaded();
            folders.ships(shipping);
        }
        let catalog = Catalog::load(&folders.list(), &store, &sealer, &config.environment).await?;
        let access = Access::default();
        access.read(&store).await?;
        let emission = Emission::default();
        emission.read(&store).await?;
        Ok(Arc::new(Self {
            outbound: open_outbound(&config, &store)?,
            providers: Providers::open(&config, &store, &sealer).await?,
            rehearsal: tercel_models::from_config(
                tercel_models::Provider::Rehearsal,
                tercel_models::Options::default(),
            ),
            runs: Runs::new(config.capacity.steps),
            live: Live::default(),
            hooks: Hooks::default(),
            emission,
            refusals: Refusals::default(),
            readers: Arc::default(),
            access,
            senders: Senders::default(),
            places: Places::default(),
            ceilings: Ceilings::load(&store, config.ceilings).await?,
            announcer: Announcer::load(&store).await?,
            refused: Refused::default(),
            tokens: Arc::default(),
            consents: Consents::default(),
            schedules: Default::default(),
            polls: Default::default(),
            registering: Registering::default(),
            syncs: Default::default(),
            sync_turns: Limiter::default(),
            retests: Default::default(),
            processes: Processes::load(&store).await?,
            hold: Hold::read(&config.data_dir),
            backups: Backups::default(),
            files: Default::default(),
            work: TaskTracker::new(),
            stopping: CancellationToken::new(),
            started: Instant::now(),
            catalog: RwLock::new(Arc::new(catalog)),
            reloading: tokio::sync::Mutex::default(),
            folders,
            store,
            sealer,
            config,
            _lock: lock,
        }))
    }

    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.read().expect("no holder of this lock panics").clone()
    }

    /// Reads anew what an administrator changed.
    pub async fn reload(&self) -> Result<()> {
        self.read_anew().await?;
        self.polls.notify_one();
        self.registering.ring();
        self.consents.ring();
        self.retests.ring();
        Ok(())
    }

    /// The same when nothing was changed by which something else would work now.
    pub async fn read_anew(&self) -> Result<()> {
        let _one = self.reloading.lock().await;
        let catalog = Catalog::load(&self.folders.list(), &self.store, &self.sealer, &self.config.environment).await?;
        *self.catalog.write().expect("no holder of this lock panics") = Arc::new(catalog);
        Ok(())
    }

    /// The host of one call of a part. `None` when there is no such integration or connection.
    pub fn host(self: &Arc<Self>, integration: &str, connection: &str, call: Call) -> Option<Host> {
        let catalog = self.catalog();
        let values = catalog.integrations.get(integration)?.values(connection)?;
        self.host_with(integration, connection, values, call)
    }

    /// The same with values that are not saved.
    pub fn host_with(
        self: &Arc<Self>,
        integration: &str,
        connection: &str,
        values: &Values,
        call: Call,
    ) -> Option<Host> {
        let catalog = self.catalog();
        let entry = catalog.integrations.get(integration)?;
        let id = call.id.unwrap_or_else(Uuid::now_v7);
        // Code in a process of its own may ask the server for something meanwhile.
        let open = (entry.listed.place.is_some() && call.id.is_none())
            .then(|| self.folders.calls.begin(id, integration, call.ids.clone(), call.timeout));
        let granted = values.granted(&entry.integration.fields);
        let mut ids = call.ids;
        ids.target = ids.target.filter(|target| entry.integration.dispatchers.contains_key(&target.kind));
        let scope = Scope {
            integration: Some(integration.into()),
            connection: Some(connection.into()),
            task: ids.task,
            granted: granted.iter().filter_map(HostPort::of).collect(),
            mode: call.mode,
            cancel: call.cancel.clone(),
            rehearsal: self.config.rehearse.clone().unwrap_or_default().with(&entry.exchanges),
        };
        let grant = entry.integration.grant.clone();
        let rehearses = call.mode == Mode::Rehearse && !scope.rehearsal.live_reads;
        let asking = Scope { mode: Mode::Live, ..scope.clone() };
        let transport = self.outbound.transport(scope);
        let context = host::Context {
            integration: integration.into(),
            connection: connection.into(),
            call: id,
            fields: values.fields.clone(),
            names: entry.names.clone(),
            account: entry.healths.get(connection).and_then(|health| health.account.clone()),
            ids,
            mode: call.mode,
            trust: call.trust,
            idempotency_key: call.idempotency_key,
            deadline: call.timeout.map(|timeout| Instant::now() + timeout),
            cancel: call.cancel,
            transport: match call.seen {
                Some(seen) => Arc::new(outbound::Watched { transport, seen }),
                None => transport,
            },
            tokens: None,
            state: self.config.data_dir.join("state").join(integration),
        };
        let tokens = grant.map(|grants| {
            let transport = self.outbound.transport(asking);
            let host = Host::new(host::Context { transport, ..context.clone() });
            let supply = Supply::new(self.tokens.clone(), grants, host, rehearses);
            Arc::new(Granted { app: self.clone(), supply, draft: values.draft.clone() }) as Arc<dyn Tokens>
        });
        let is_saved =
            values.draft.is_none() && entry.values(connection).is_some_and(|saved| saved.fields == values.fields);
        if let (Some(open), Some(tokens), false) = (&open, &tokens, is_saved) {
            open.lend(connection, tokens);
        }
        Some(Host::new(host::Context { tokens, ..context }))
    }

    /// The client for the server's own calls to addresses that a stranger may have named.
    pub fn plain_http(
        &self,
        granted: Option<&str>,
        task: Option<Uuid>,
        cancel: &CancellationToken,
    ) -> tercel_sdk::http::Client {
        let granted = granted.and_then(|url| url.parse().ok()).and_then(|url| HostPort::of(&url));
        let scope = Scope { task, granted: granted.into_iter().collect(), cancel: cancel.clone(), ..Scope::default() };
        tercel_sdk::http::Client::new(self.outbound.transport(scope))
    }

    /// Which model a bot uses, and whether its run is a rehearsal.
    pub fn model_of(&self, name: Option<&str>) -> (String, bool) {
        let name = name.unwrap_or(&self.config.llm.model);
        (name.to_owned(), self.config.rehearse.is_some() || self.chosen(name, false).is_rehearsal())
    }

    pub fn seal_target(&self, target: &Target) -> String {
        let json = serde_json::to_value(target).unwrap_or_default();
        self.sealer.seal_secrets(TARGET, json).to_string()
    }

    pub fn open_target(&self, sealed: &str) -> Result<Target> {
        let json: Value = serde_json::from_str(sealed)?;
        Ok(serde_json::from_value(self.sealer.open_secrets(TARGET, json)?)?)
    }

    /// A stored target as it may be shown.
    pub fn masked_target(&self, sealed: Option<&str>) -> Value {
        sealed.and_then(|text| serde_json::from_str(text).ok()).map_or(Value::Null, tercel_store::seal::mask_secrets)
    }

    /// Raises a notice and answers whether it is stored. Not being able to is logged: a notice must not break what it
    /// is about.
    pub async fn raise(&self, notice: NewNotice) -> bool {
        tracing::warn!(notice = %notice.key, "{}: {}", notice.title, notice.detail);
        let id = Uuid::now_v7();
        let by = announce::of(self, id, &notice);
        let stored = self.store.announce(id, notice, by).await;
        if let Err(error) = &stored {
            tracing::error!("The notice could not be stored: {error}");
        }
        stored.is_ok()
    }

    pub async fn close_notice(&self, key: &str) {
        if let Err(error) = self.store.close_announced(key, announce::over(self, key)).await {
            tracing::error!("The notice could not be closed: {error}");
        }
    }
}

fn open_outbound(config: &Config, store: &Arc<Store>) -> Result<Arc<Outbound>> {
    let (ledger, mut rows) = tokio::sync::mpsc::channel::<outbound::Egress>(1024);
    let weak = Arc::downgrade(store);
    tokio::spawn(async move {
        while let Some(row) = rows.recv().await {
            let Some(store) = weak.upgrade() else { return };
            let kept = store.note_egress(tercel_store::Egress {
                at: row.at,
                integration: row.integration,
                connection: row.connection,
                task_id: row.task,
                method: row.method,
                host: row.host,
                path: row.path,
                status: row.status.map(i64::from),
                error: row.error.map(|kind| Kind::as_str(kind).to_owned()),
                sent_bytes: row.sent_bytes as i64,
                received_bytes: row.received_bytes as i64,
                duration_ms: row.duration_ms as i64,
            });
            if !kept {
                metrics::counter!("tercel_egress_rows_dropped_total").increment(1);
            }
        }
    });
    Outbound::new(outbound::Options {
        allow_private: config.allow_private.clone(),
        probe: tercel_store::failpoint::hit,
        timeout: config.http_timeout,
        ..outbound::Options::new(ledger)
    })
    .context("The HTTP client cannot be made")
}
