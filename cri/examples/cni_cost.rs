//! What the CNI client adds to the time of the plugins: medians of attaching and detaching, as root, in a network namespace of
//! its own:
//!
//!     unshare --net --mount cargo run -p cri --example cni_cost

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use cri::network::cni::{Add, Args, Capabilities, Client, ContainerId, Settings, Step, open_namespace};
use nix::sched::{CloneFlags, unshare};

const ROUNDS: usize = 60;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir_in("/var/tmp")?;
    fs::create_dir(dir.path().join("net.d"))?;
    let config = format!(
        r#"{{"cniVersion": "1.0.0", "name": "cost", "plugins": [
            {{"type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": {{"type": "host-local", "dataDir": "{}/ipam", "subnet": "10.88.0.0/16"}}}},
            {{"type": "tuning"}}]}}"#,
        dir.path().display()
    );
    fs::write(dir.path().join("net.d/10-cost.conflist"), config)?;
    let mut settings = Settings::new(dir.path().join("net"));
    settings.config_dir = dir.path().join("net.d");
    let client = Client::open(settings)?;
    let (mut adds, mut dels) = (Cost::default(), Cost::default());
    for round in 0..ROUNDS {
        let netns = namespace()?;
        let container: ContainerId = format!("cost{round}").parse()?;
        let add = Add {
            container: container.clone(),
            netns: format!("/proc/{}/fd/{}", std::process::id(), netns.as_raw_fd()).into(),
            interface: "eth0".parse()?,
            network: None,
            args: Args::of_pod("default", "web", "uid", container.as_str())?,
            capabilities: Capabilities::default(),
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        let begin = Instant::now();
        let steps = client.add(&add, deadline)?.steps;
        adds.took(begin.elapsed(), &steps);
        let begin = Instant::now();
        let steps = client.delete(&container, deadline)?;
        dels.took(begin.elapsed(), &steps);
    }
    println!("medians of {ROUNDS}, two plugins, ms   all   in plugins   ours");
    adds.print("ADD");
    dels.print("DEL");
    Ok(())
}

#[derive(Default)]
struct Cost {
    all: Vec<Duration>,
    plugins: Vec<Duration>,
    ours: Vec<Duration>,
}

impl Cost {
    fn took(&mut self, all: Duration, steps: &[Step]) {
        let plugins = steps.iter().map(|step| step.took).sum();
        self.all.push(all);
        self.plugins.push(plugins);
        self.ours.push(all.saturating_sub(plugins));
    }

    fn print(mut self, name: &str) {
        let mut median = |list: fn(&mut Self) -> &mut Vec<Duration>| {
            let list = list(&mut self);
            list.sort_unstable();
            list[list.len() / 2].as_secs_f64() * 1e3
        };
        let (all, plugins, ours) = (median(|c| &mut c.all), median(|c| &mut c.plugins), median(|c| &mut c.ours));
        println!("{name}                            {all:8.2}     {plugins:8.2}   {ours:6.2}");
    }
}

fn namespace() -> Result<OwnedFd, Box<dyn std::error::Error>> {
    let made = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        Ok::<_, nix::Error>(open_namespace("/proc/thread-self/ns/net".as_ref()))
    });
    Ok(made.join().map_err(|_| "thread")???)
}
