//! The files in `deploy/` say what the program understands, name what they run, and give nothing away.

use crate::common::Server;
use crate::support::skipped;
use beep_server::config::Config;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// A file as it is now.
fn file(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&file(name)).unwrap()
}

fn compose() -> Value {
    yaml("compose.yml")
}

/// The services alone, for a laptop.
fn laptop() -> Value {
    yaml("compose.services.yml")
}

fn kubernetes() -> BTreeMap<String, Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(&file("kubernetes.yaml")).unwrap();
    documents.into_iter().map(|d| (d["kind"].as_str().unwrap().to_owned(), d)).collect()
}

fn services(compose: &Value) -> impl Iterator<Item = (&str, &Value)> {
    compose["services"].as_object().unwrap().iter().map(|(name, service)| (name.as_str(), service))
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().map(|list| list.iter().map(|v| v.as_str().unwrap()).collect()).unwrap_or_default()
}

/// Every word that begins so.
fn words<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(move |word| word.starts_with(prefix))
}

/// Whole seconds of `30s` or `8`.
fn seconds(text: &Value) -> u64 {
    let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
    text.trim_end_matches('s').parse().unwrap()
}

#[test]
fn every_variable_is_a_setting() {
    let keys = Config::keys();
    let known: BTreeSet<String> =
        keys.iter().map(|key| format!("BEEP_{}", key.replace('.', "_").to_uppercase())).collect();
    let files = ["compose.yml", "compose.services.yml", "kubernetes.yaml", "Dockerfile", "env.example"];
    for name in files.into_iter().chain(["traefik/beep.yml", "README.md"]) {
        for word in words(&file(name), "BEEP_") {
            assert!(known.contains(word) || word == "BEEP_REQUIRE", "{name}: `{word}` is no setting");
        }
    }
    // And their values can be read.
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let environment = compose()["services"]["node-1"]["environment"].as_object().unwrap().clone();
    let config = kubernetes()["ConfigMap"]["data"].as_object().unwrap().clone();
    for given in [environment, config] {
        let config = Config::load(None, given.iter().map(|(k, v)| (k.clone(), text(v))), &[]).unwrap();
        assert_eq!((config.listen.0.as_str(), config.http.drain_timeout_s), ("0.0.0.0:8080", 10));
    }
}

#[test]
fn every_image_has_a_fixed_version() {
    let (compose, laptop, cluster) = (compose(), laptop(), kubernetes());
    let mut images: Vec<&str> =
        services(&compose).chain(services(&laptop)).map(|(_, s)| s["image"].as_str().unwrap()).collect();
    let pod = &cluster["Deployment"]["spec"]["template"]["spec"];
    for container in ["containers", "initContainers"].iter().flat_map(|c| pod[c].as_array().unwrap()) {
        images.push(container["image"].as_str().unwrap());
    }
    let dockerfile = file("Dockerfile");
    images.extend(dockerfile.lines().filter_map(|l| l.strip_prefix("FROM ")?.split(' ').next()));
    assert!(images.len() >= 16, "{images:?}");
    for image in images {
        let version =
            image.rsplit_once(':').map(|(_, tag)| tag.trim_start_matches('v').split('-').next().unwrap());
        let parts: Vec<&str> = version.unwrap_or_default().split('.').collect();
        let fixed = parts.len() >= 2 && parts.iter().all(|part| part.parse::<u32>().is_ok());
        assert!(fixed, "`{image}` may be another program tomorrow");
        // What this repository builds has its version.
        if let Some(version) = image.strip_prefix("beep:") {
            assert_eq!(version, env!("CARGO_PKG_VERSION"));
        }
    }
}

/// Defect A19.
#[test]
fn only_traefik_can_be_reached() {
    let compose = compose();
    let published: Vec<&str> =
        services(&compose).filter(|(_, s)| !s["ports"].is_null()).map(|(name, _)| name).collect();
    assert_eq!(published, ["traefik"]);
    assert!(services(&compose).all(|(_, s)| s["network_mode"].is_null() || s["network_mode"] == "none"));
    for (name, service) in services(&compose) {
        let shared = ["postgres", "redis", "nats", "s3"].contains(&name);
        assert!(!shared || texts(&service["networks"]) == ["data"], "{name} is in another network");
    }
    assert_eq!(compose["networks"]["data"]["internal"], true);
    let laptop = laptop();
    for (name, service) in services(&laptop) {
        let ports = texts(&service["ports"]);
        assert!(!ports.is_empty() && ports.iter().all(|p| p.starts_with("127.0.0.1:")), "{name}: {ports:?}");
    }
    // The nodes believe Traefik what it says of clients, and nobody else; and it passes on no client's own words.
    let address = &compose["services"]["traefik"]["networks"]["edge"]["ipv4_address"];
    let traefik = yaml("traefik/beep.yml");
    let beep = &traefik["http"]["routers"]["beep"];
    assert!(texts(&beep["middlewares"]).contains(&"own-words"));
    let headers = &traefik["http"]["middlewares"]["own-words"]["headers"]["customRequestHeaders"];
    assert_eq!(headers["X-User-Claim"], "");
    let mut servers = Vec::new();
    for server in traefik["http"]["services"]["beep"]["loadBalancer"]["servers"].as_array().unwrap() {
        servers.push(server["url"].as_str().unwrap().trim_start_matches("http://").trim_end_matches(":8080"));
    }
    let nodes = services(&compose).filter(|(name, _)| name.starts_with("node-"));
    let nodes: Vec<(&str, &Value)> = nodes.collect();
    assert_eq!(servers, nodes.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    assert_eq!(nodes.len(), 3);
    for (_, node) in nodes {
        assert_eq!(node, &compose["services"]["node-1"], "the nodes differ");
        assert_eq!(&node["environment"]["BEEP_AUTH_TRUSTED_PROXIES"], address);
    }
}

#[test]
fn nobody_has_rights_that_are_not_needed() {
    let compose = compose();
    for (name, service) in services(&compose) {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert!(service["privileged"].is_null() && !service.to_string().contains("docker.sock"), "{name}");
        match service["user"].as_str() {
            Some(user) => assert!(!user.starts_with('0') && user != "root", "{name}"),
            None if name.starts_with("node-") => assert!(file("Dockerfile").contains("\nUSER 10001:10001\n")),
            // It gives volumes to those who are not root, and is alone.
            None => assert_eq!((name, &service["network_mode"]), ("owners", &Value::from("none"))),
        }
    }
    let cluster = kubernetes();
    let pod = &cluster["Deployment"]["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    for container in ["containers", "initContainers"].iter().flat_map(|c| pod[c].as_array().unwrap()) {
        let context = &container["securityContext"];
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(texts(&context["capabilities"]["drop"]), ["ALL"]);
    }
}

#[test]
fn no_password_is_written_down() {
    let secret = |name: &str| {
        let name = name.to_uppercase();
        ["PASSWORD", "SECRET", "TOKEN", "_KEY", "AUTH"].iter().any(|part| name.contains(part))
            && name != "BEEP_AUTH_TRUSTED_PROXIES"
            && name != "POSTGRES_HOST_AUTH_METHOD"
    };
    for compose in [compose(), laptop()] {
        for (service, setting) in services(&compose) {
            for (name, value) in setting["environment"].as_object().into_iter().flatten() {
                let value = value.as_str().unwrap().trim_matches('"');
                let from_outside = value.starts_with("${") && value.ends_with('}');
                assert!(!secret(name) || from_outside, "{service}: {name} is written down");
                // A password in a URL stands between the last `:` before the `@` and the `@`.
                if let Some((_, user)) = value.rsplit_once('@').and_then(|(front, _)| front.split_once("://"))
                {
                    let password = user.split_once(':').map_or("", |(_, password)| password);
                    assert!(password.starts_with("${") && password.ends_with('}'), "{service}: {name}");
                }
            }
        }
    }
    let env = file("env.example");
    for line in env.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.is_empty() || line.ends_with('='), "env.example has a value: {line}");
    }
    let text = file("compose.yml");
    let wanted: BTreeSet<&str> =
        text.split("${").skip(1).map(|rest| rest.split([':', '}']).next().unwrap()).collect();
    let offered = env.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split('=').next());
    assert_eq!(
        wanted,
        offered.filter(|name| !name.is_empty()).collect(),
        "compose.yml and env.example differ"
    );
    assert!(!kubernetes().contains_key("Secret"));
    let mut folders = vec![folder()];
    while let Some(dir) = folders.pop() {
        for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            // Bytes, as a cache of Python may lie there; `.env` is the one place where passwords are meant to be.
            if entry.file_name().is_some_and(|name| name == ".env") {
                continue;
            }
            let text = String::from_utf8_lossy(&fs::read(&entry).unwrap()).into_owned();
            let long = text.split(|c: char| !c.is_ascii_hexdigit()).find(|run| run.len() >= 20);
            assert_eq!(long, None, "{} has what looks like a key", entry.display());
        }
    }
    let ignored = fs::read_to_string(folder().join(".gitignore")).unwrap();
    assert!(ignored.lines().any(|line| line == ".env"));
}

/// Defect D10.
#[test]
fn what_must_last_is_in_a_named_volume() {
    let compose = compose();
    let named: BTreeSet<&str> = compose["volumes"].as_object().unwrap().keys().map(String::as_str).collect();
    let mut used = BTreeSet::new();
    for (name, service) in services(&compose) {
        for volume in texts(&service["volumes"]) {
            let (source, place) =
                volume.split_once(':').unwrap_or_else(|| panic!("{name}: `{volume}` is nameless"));
            if let Some(file) = source.strip_prefix("./") {
                assert!(place.ends_with(":ro") && folder().join(file).is_file(), "{name}: {volume}");
            } else {
                used.insert(source);
            }
        }
    }
    assert_eq!(used, named);
    for (service, place) in [("postgres", "postgres:/var/lib/postgresql/data"), ("nats", "nats:/data")]
        .into_iter()
        .chain([("s3", "s3-data:/data"), ("s3", "s3-meta:/meta"), ("node-1", "keys:/var/lib/beep/keys")])
    {
        assert!(texts(&compose["services"][service]["volumes"]).contains(&place), "{service}");
    }
    assert!(texts(&compose["services"]["postgres"]["command"]).contains(&"synchronous_commit=on"));
}

#[test]
fn a_node_that_stops_has_the_time_to_finish() {
    let compose = compose();
    let node = &compose["services"]["node-1"];
    let drain = seconds(&node["environment"]["BEEP_HTTP_DRAIN_TIMEOUT_S"]);
    assert!(seconds(&node["stop_grace_period"]) > drain);
    for (_, needed) in node["depends_on"].as_object().unwrap() {
        assert_eq!(needed["condition"], "service_healthy");
    }
    let cluster = kubernetes();
    let deployment = &cluster["Deployment"]["spec"];
    let pod = &deployment["template"]["spec"];
    let beep = &pod["containers"][0];
    let pause = seconds(&beep["lifecycle"]["preStop"]["exec"]["command"][1]);
    let drain = seconds(&cluster["ConfigMap"]["data"]["BEEP_HTTP_DRAIN_TIMEOUT_S"]);
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > pause + drain);
    // It is out of the balancing before it stops listening.
    let probe = |name: &str| (&beep[name]["httpGet"]["path"], beep[name]["periodSeconds"].as_u64().unwrap());
    assert!(pause > probe("readinessProbe").1);
    assert_eq!(
        (probe("readinessProbe").0, probe("livenessProbe").0),
        (&"/readyz".into(), &"/healthz".into())
    );
    assert_eq!(
        (&deployment["replicas"], &deployment["strategy"]["rollingUpdate"]["maxUnavailable"]),
        (&3.into(), &1.into())
    );
    let labels = &deployment["template"]["metadata"]["labels"];
    assert_eq!(&deployment["selector"]["matchLabels"], labels);
    assert_eq!(&cluster["Service"]["spec"]["selector"], labels);
    assert_eq!(&cluster["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"], labels);
    for document in cluster.values().filter(|d| d["kind"] != "Namespace") {
        assert_eq!(document["metadata"]["namespace"], "beep");
    }
}

/// The script that health checks run, on a real server.
#[tokio::test]
async fn the_health_check_tells_a_good_answer_from_others() {
    let mut server = Server::plain().await;
    let ask = |path: &'static str| {
        let mut command = Command::new(folder().join("ask.sh"));
        command.arg(path).arg(server.address.port().to_string()).stderr(Stdio::null());
        async { tokio::task::spawn_blocking(move || command.status().unwrap().success()).await.unwrap() }
    };
    assert!(ask("/healthz").await && ask("/readyz").await);
    assert!(!ask("/nowhere").await && !ask("/bite/conversation/c-crew").await);
    let gone = ask("/healthz");
    server.stop().await.unwrap();
    assert!(!gone.await);
}

/// A changed input that was not computed with, or a changed page.
#[test]
fn the_page_of_sizes_is_what_its_script_prints() {
    let script = folder().join("sizing.py");
    let Ok(output) = Command::new("python3").arg("-B").arg(script).output() else {
        return skipped("deploy/SIZING.md, as python3 is not installed");
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (page, printed) =
        (fs::read_to_string(folder().join("SIZING.md")).unwrap(), String::from_utf8(output.stdout).unwrap());
    for (line, (there, here)) in page.lines().zip(printed.lines()).enumerate() {
        assert_eq!(there, here, "SIZING.md, line {}: run deploy/sizing.py", line + 1);
    }
    assert_eq!(page, printed);
}
