//! The whole thing on spoken samples: a fresh server on loopback, two people talking, events, transcripts, a search.

mod client;

use crate::App;
use crate::assemble::{assemble, speech_dir};
use crate::config::Config;
use crate::serve::{listen, serve};
use beep_core::auth::Scope;
use beep_core::clock::System;
use beep_core::id::{ConversationId, Identity, UserId};
use beep_core::store::{NewConversation, NewUser, Role};
use beep_core::{Error, ErrorKind, Result};
use beep_pipeline::samples::{SAMPLES, Sample};
use beep_storage::DataDir;
use client::Client;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long the demo waits for what it has asked for.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is said and by whom: Ada begins.
const SCRIPT: &[(usize, &str)] = &[(0, "ada"), (0, "ben"), (4, "ada"), (5, "ben"), (1, "ada"), (11, "ben")];
/// What is searched for at the end.
const WORD: &str = "five";

struct Person {
    name: &'static str,
    client: Client,
}

/// Runs the demo. Ends after it with `exit`, else stays up until Ctrl-C.
pub async fn run(mut config: Config, exit: bool) -> Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("beep-demo-")
        .tempdir()
        .map_err(|e| Error::internal("making a folder for the demo", e))?;
    install_speech(&mut config).await?;
    config.data_dir = folder.path().display().to_string();
    // Stores that are configured elsewhere belong to an installation.
    config.store = crate::config::Store::default();
    if config.listen == Config::default().listen {
        // Whatever else listens on the usual port goes on undisturbed.
        config.listen.0 = "127.0.0.1:0".into();
    }

    let (listener, address) = listen(&config).await?;
    let app = assemble(&config).await?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, app.clone(), async {
        // An error means that the demo ended early, which ends the server as well.
        stopped.await.ok();
    }));
    let shown = show(&app, address, exit).await;
    drop(stop);
    server.await.map_err(|e| Error::internal("the server", e))?;
    app.beep().shutdown().await;
    shown
}

async fn show(app: &App, address: SocketAddr, exit: bool) -> Result<()> {
    println!("server      http://{address}");
    let (conversation, people, token) = cast(app, address).await?;
    println!("talking     ada and ben in {conversation}\n");

    let mut events = people[1].client.events().await?;
    let mut awaited = 0;
    for (n, (clip, who)) in SCRIPT.iter().enumerate() {
        let Sample { text, wav } = SAMPLES[*clip];
        let person = if people[0].name == *who { &people[0] } else { &people[1] };
        let start = 1_700_000_000_000 + n as u64 * 5_000;
        person.client.publish(&conversation, start, wav).await?;
        println!("{who:<11} says \"{text}\" ({} bytes, durable)", wav.len());
        awaited += if app.transcription_off().is_none() { 2 } else { 1 };
    }
    println!();
    let heard = async {
        for _ in 0..awaited {
            println!("{:<11} {}", "event", events.next().await?);
        }
        Ok::<(), Error>(())
    };
    tokio::time::timeout(PATIENCE, heard)
        .await
        .map_err(|_| Error::new(ErrorKind::Unavailable, "the events did not arrive within a minute"))??;

    match app.transcription_off() {
        None => {
            app.beep().settle().await?;
            println!("\nsearch      {WORD}");
            for hit in people[0].client.search(WORD).await? {
                println!("{:<11} {hit}", "found");
            }
        }
        Some(reason) => println!("\nNothing was transcribed: {reason}"),
    }
    println!(
        "\ntry         curl -H 'Authorization: Bearer {token}' 'http://{address}/transcription/search?q={WORD}'"
    );
    println!("token       {token}");
    if exit {
        return Ok(());
    }
    println!("\nThe server stays up until Ctrl-C.");
    tokio::signal::ctrl_c().await.map_err(|e| Error::internal("waiting for Ctrl-C", e))
}

/// Two people and their conversation, each with a token for their phone.
async fn cast(app: &App, address: SocketAddr) -> Result<(ConversationId, [Person; 2], String)> {
    let directory = &app.beep().stores().directory;
    let mut people = Vec::new();
    let mut tokens = Vec::new();
    let mut users = Vec::new();
    for (name, phone_number) in [("ada", "+6590000001"), ("ben", "+6590000002")] {
        let id = UserId::random(&System)?;
        let user = NewUser {
            id: id.clone(),
            username: Some(name.into()),
            first_name: name.into(),
            last_name: String::new(),
            phone_number: phone_number.into(),
        };
        directory.create_user(user).await?;
        let identity = Identity { user: id.clone(), device: "phone".parse()? };
        let token = app.issuer().issue(&identity, Scope::User)?;
        people.push(Person { name, client: Client::new(address, token.clone()) });
        tokens.push(token);
        users.push(id);
    }
    let id = ConversationId::random(&System)?;
    let conversation = NewConversation {
        id: id.clone(),
        title: "Demo".into(),
        picture: String::new(),
        owner: users[0].clone(),
    };
    directory.create_conversation(conversation).await?;
    directory.put_member(&id, &users[1], Role::Member).await?;
    let people =
        people.try_into().map_err(|_| Error::new(ErrorKind::Internal, "the demo needs two people"))?;
    Ok((id, people, tokens.swap_remove(0)))
}

/// libvosk and the model stay in the user's own folder, so that only the first demo downloads them.
async fn install_speech(config: &mut Config) -> Result<()> {
    let dir = speech_dir(config, &DataDir::default_location());
    config.transcribe.dir = dir.display().to_string();
    #[cfg(feature = "transcribe-vosk")]
    {
        use beep_pipeline::transcriber::vosk::{SpeechHome, install};
        let installing = tokio::task::spawn_blocking(move || {
            install(&SpeechHome::new(dir), &mut |line| println!("{:<11} {line}", "speech"))
        });
        // The demo goes on without: it shows everything but the words, and says why.
        if let Err(e) = installing.await.map_err(|e| Error::internal("installing speech", e))? {
            println!("{:<11} {e}", "speech");
        }
    }
    Ok(())
}
