//! nginx as a yardstick: one worker that sends a static file of 4 KiB, where nginx is installed.

use super::raw::PAGE;
use super::running::server::free_address;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running nginx. Killed when dropped.
pub struct Nginx {
    child: Child,
    pub address: SocketAddr,
    _dir: TempDir,
}

impl Nginx {
    /// None where there is no nginx.
    pub fn start() -> Option<Self> {
        let places = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx", "/usr/local/bin/nginx"];
        let binary = places.into_iter().find(|place| Path::new(place).is_file())?;
        let dir = tempfile::tempdir().unwrap();
        let (at, address) = (dir.path().display(), free_address());
        fs::write(dir.path().join("bite.wav"), vec![b'x'; PAGE]).unwrap();
        // One process: no master that would leave a worker behind when it is killed.
        let configuration = format!(
            "daemon off; master_process off; worker_processes 1; pid {at}/pid; error_log {at}/error.log;
             events {{ worker_connections 1024; }}
             http {{
                 access_log off; sendfile on; tcp_nopush on; tcp_nodelay on;
                 keepalive_requests 1000000000; default_type audio/wav;
                 client_body_temp_path {at}/a; proxy_temp_path {at}/b; fastcgi_temp_path {at}/c;
                 uwsgi_temp_path {at}/d; scgi_temp_path {at}/e;
                 server {{ listen {address}; root {at}; location / {{ try_files /bite.wav =404; }} }}
             }}"
        );
        let file = dir.path().join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let child = Command::new(binary)
            .arg("-c")
            .arg(&file)
            .args(["-e", "stderr"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let nginx = Self { child, address, _dir: dir };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(nginx)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
