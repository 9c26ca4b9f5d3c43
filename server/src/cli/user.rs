//! `muster-server user`: people, made by the server's owner.

use std::io::Read as _;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::offline::Offline;
use super::output;
use crate::accounts::Role;
use crate::accounts::service::{self, AccountError, NewUser};
use crate::config::Inputs;
use crate::platform::Platform;

/// The commands of `user`.
#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Make a person a member of an org; the person and the org are made where they are not there
    Add(Add),
    /// Give a person a new password
    Password(Password),
}

/// The flags of `user add`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without --password-stdin a password is made and printed, once.\n\nExamples:\n  \
    muster-server user add --data-dir ./data --email ada@example.com --name \"Ada Lovelace\" --org acme --role admin\n  \
    pass show ada | muster-server user add --config muster.toml --email ada@example.com --name Ada --org acme --password-stdin"
)]
pub(super) struct Add {
    /// By what the person signs in
    #[arg(long)]
    email: String,
    /// What the person is called
    #[arg(long)]
    name: String,
    /// The org
    #[arg(long)]
    org: String,
    /// What the person may do there
    #[arg(long, value_parser = ["view", "manage", "admin"], default_value = "view")]
    role: String,
    /// Read the password from standard input
    #[arg(long = "password-stdin")]
    stdin: bool,
    #[command(flatten)]
    offline: Offline,
}

/// The flags of `user password`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without --password-stdin a password is made and printed, once.\n\nExample:\n  \
    muster-server user password --data-dir ./data --email admin@localhost"
)]
pub(super) struct Password {
    /// By what the person signs in
    #[arg(long)]
    email: String,
    /// Read the password from standard input
    #[arg(long = "password-stdin")]
    stdin: bool,
    #[command(flatten)]
    offline: Offline,
}

impl User {
    pub(super) fn offline(&self) -> &Offline {
        match self {
            Self::Add(command) => &command.offline,
            Self::Password(command) => &command.offline,
        }
    }

    pub(super) async fn run(self, inputs: Inputs) -> anyhow::Result<()> {
        let platform = self.offline().open(inputs).await?;
        match self {
            Self::Add(command) => command.run(&platform).await,
            Self::Password(command) => command.run(&platform).await,
        }
    }
}

impl Add {
    async fn run(self, platform: &Platform) -> anyhow::Result<()> {
        let (password, made) = password(platform, self.stdin)?;
        let user = NewUser {
            email: &self.email,
            name: &self.name,
            password: password.clone(),
        };
        match service::create_org(platform, &self.org).await {
            Ok(_) => output::line(format_args!("Made the org {}.", self.org)),
            Err(AccountError::OrgTaken) => {}
            Err(error) => return Err(error).with_context(|| format!("--org {}", self.org)),
        }
        match service::create_user(platform, user).await {
            Ok(_) if made => output::line(format_args!(
                "Made {} with the password {} (shown this once).",
                self.email,
                password.as_str()
            )),
            Ok(_) => output::line(format_args!("Made {}.", self.email)),
            Err(AccountError::EmailTaken) => {
                output::line(format_args!(
                    "{} was there already; name and password stay.",
                    self.email
                ));
            }
            Err(error) => return Err(error).with_context(|| format!("--email {}", self.email)),
        }
        let role = role(&self.role);
        service::add_member(platform, &self.org, &self.email, role).await?;
        output::line(format_args!(
            "{} is a member of {} with the role {}.",
            self.email,
            self.org,
            role.name()
        ));
        Ok(())
    }
}

impl Password {
    async fn run(self, platform: &Platform) -> anyhow::Result<()> {
        let (password, made) = password(platform, self.stdin)?;
        service::set_password(platform, &self.email, password.clone())
            .await
            .with_context(|| format!("--email {}", self.email))?;
        if made {
            output::line(format_args!(
                "{} has the password {} (shown this once).",
                self.email,
                password.as_str()
            ));
        } else {
            output::line(format_args!("{} has the new password.", self.email));
        }
        Ok(())
    }
}

/// The password, and whether it was made here.
fn password(platform: &Platform, stdin: bool) -> anyhow::Result<(Zeroizing<String>, bool)> {
    if !stdin {
        return Ok((service::random_password(platform), true));
    }
    let mut text = Zeroizing::new(String::new());
    std::io::stdin().read_to_string(&mut text).context("--password-stdin")?;
    Ok((Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned()), false))
}

/// clap has let no other word through.
fn role(word: &str) -> Role {
    match word {
        "admin" => Role::Admin,
        "manage" => Role::Manage,
        _ => Role::View,
    }
}
