//! The server's command line: configuration, assembly, serving until a signal.

use beep_core::{Error, ErrorKind, Result};
use beep_server::assemble::{assemble, data_dir};
use beep_server::config::Config;
use beep_server::{demo, listen, listen_for_login, serve, serve_login};
use clap::{Parser, Subcommand};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Records what people say, transcribes it, lets them find it and hear it again.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// Configuration file (TOML); every key can also be a variable, `http.max_body` as BEEP_HTTP_MAX_BODY
    #[arg(long, value_name = "FILE", env = "BEEP_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// Folder of the installation [default: $XDG_DATA_HOME/beep, else ~/.local/share/beep]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", global = true)]
    listen: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (the default)
    Serve,
    /// Show the whole thing on spoken samples: a fresh server on loopback, two people talking, a search
    Demo {
        /// End when everything was shown, instead of staying up
        #[arg(long)]
        exit: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let mut flags = Vec::new();
    if let Some(dir) = &cli.data_dir {
        let text = dir.to_str().ok_or_else(|| not_text("--data-dir"))?;
        flags.push(("data_dir", text.to_owned()));
    }
    flags.extend(cli.listen.map(|address| ("listen", address)));
    let config = Config::load(cli.config.as_deref(), variables()?.into_iter(), &flags)?;
    log(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::internal("starting the runtime", e))?;
    runtime.block_on(async {
        match cli.command.unwrap_or(Command::Serve) {
            Command::Serve => serve_until_signal(&config).await,
            Command::Demo { exit } => demo::run(config, exit).await,
        }
    })
}

/// Our own variables. What else is in the environment need not be text.
fn variables() -> Result<Vec<(String, String)>> {
    let ours = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.to_str().filter(|name| name.starts_with("BEEP_"))?.to_owned();
        Some(value.into_string().map_err(|_| not_text(&name)).map(|value| (name, value)))
    });
    ours.collect()
}

fn not_text(what: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{what} must be valid UTF-8: choose another name"))
}

async fn serve_until_signal(config: &Config) -> Result<()> {
    let (listener, address) = listen(config).await?;
    let login = listen_for_login(config).await?;
    let app = assemble(config).await?;
    tracing::info!(data = %data_dir(config).path().display(), "listening on http://{address}");
    let no_signals = |e| Error::internal("listening for signals", e);
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving_login = async {
        if let Some(listener) = login {
            serve_login(listener, app.clone(), async { drop(stopped.await) }).await;
        }
    };
    let serving = serve(listener, app.clone(), async {
        let _stop = stop; // dropped at the end, which ends the other one
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: requests under way are finished first");
    });
    tokio::join!(serving, serving_login);
    app.beep().shutdown().await;
    Ok(())
}

fn log(config: &Config) -> Result<()> {
    let wrong = |e| Error::new(ErrorKind::Invalid, "log.filter is wrong").with_source(e);
    let filter = EnvFilter::try_new(&config.log.filter).map_err(wrong)?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log.format.as_str() {
        "text" => subscriber.init(),
        "json" => subscriber.json().init(),
        "auto" if std::io::stderr().is_terminal() => subscriber.init(),
        "auto" => subscriber.json().init(),
        other => {
            let what = format!("log.format must be `auto`, `text` or `json`, not `{other}`");
            return Err(Error::new(ErrorKind::Invalid, what));
        }
    }
    Ok(())
}
