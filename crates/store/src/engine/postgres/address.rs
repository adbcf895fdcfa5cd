//! What `DATABASE_URL` says.

use crate::{Error, Result};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{ConnectOptions, postgres::PgConnectOptions};
use std::str::FromStr;

/// Where the database is. Nothing in it but the options knows the password.
#[derive(Clone)]
pub(crate) struct Address {
    pub options: PgConnectOptions,
    /// `localhost:5432`, for messages.
    pub server: String,
    /// `` `tercel` at localhost:5432 ``, for messages.
    pub place: String,
}

/// What may stand behind the `?`. The library passes over others, and logs them with their values.
const PARAMETERS: [&str; 19] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "statement-cache-capacity",
    "connect_timeout",
];

impl Address {
    /// # Errors
    /// `Unusable` for what is no address of PostgreSQL; the message shows nothing of it but the name of a parameter.
    pub fn parse(url: &SecretString) -> Result<Self> {
        let url = url.expose_secret().trim();
        let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let name = parameter.split('=').next().unwrap_or_default();
            if !PARAMETERS.contains(&name) && !name.starts_with("options") {
                let known = "sslmode, sslrootcert, sslcert, sslkey, host, port, dbname, user, password, application_name, options";
                return Err(Error::Unusable(format!(
                    "DATABASE_URL: `{name}` is not known behind the `?`; known are {known}"
                )));
            }
        }
        let options = PgConnectOptions::from_str(url).map_err(|_| {
            Error::Unusable(
                "DATABASE_URL cannot be read. It is written postgres://user:password@host:5432/database; in a password, \
                 @ is written %40, / is %2F, : is %3A and # is %23"
                    .into(),
            )
        })?;
        let name = match options.get_application_name() {
            Some(name) => name.to_owned(),
            None => format!("tercel (process {})", std::process::id()),
        };
        let options = options.application_name(&name).statement_cache_capacity(512).disable_statement_logging();
        let server = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let database = options.get_database().unwrap_or(options.get_username());
        let place = format!("`{database}` at {server}");
        Ok(Self { options, server, place })
    }

    pub fn database(&self) -> &str {
        self.options.get_database().unwrap_or(self.options.get_username())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address> {
        Address::parse(&url.into())
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        let address = parse("postgres://ann:s3cret@db.example.com:6432/agents?sslmode=require").unwrap();
        assert_eq!(address.place, "`agents` at db.example.com:6432");
        let address = parse("postgresql://ann:s3cret@localhost/agents?host=/run/postgresql").unwrap();
        assert_eq!(address.place, "`agents` at /run/postgresql");
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_showing_it() {
        for url in
            ["postgres://ann:s3cret@host:port/x", "postgres://ann:s3cret@h/x?sslmode=s3cret", "postgres://[s3cret"]
        {
            let Err(said) = parse(url) else { panic!("{url} was taken") };
            let said = said.to_string();
            assert!(said.contains("postgres://user:password@host") && !said.contains("s3cret"), "{said}");
        }
        let Err(said) = parse("postgres://ann@h/x?pasword=s3cret") else { panic!("it was taken") };
        assert!(said.to_string().contains("`pasword`") && !said.to_string().contains("s3cret"), "{said}");
    }
}
