//! What befalls the gateway from behind: servers that die and come back, reloads, endpoints that are taken out.

use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use corelane::base::rng::Rng;

use super::is_over;
use super::world::{Servers, World, ask, config, signal, sim};

/// Runs until it is stopped.
pub struct Chaos {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Chaos {
    /// Ends it: both servers are there then.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("chaos does not panic");
        }
    }
}

/// Begins.
pub fn start(world: &World, seed: u64) -> Chaos {
    let stop = Arc::new(AtomicBool::new(false));
    let mut rng = Rng::new(seed);
    let mut threads = Vec::new();
    for address in world.servers.shaky.clone() {
        let (stop, rng) = (Arc::clone(&stop), Rng::new(rng.next_u64()));
        threads.push(thread::spawn(move || die_and_return(&address, rng, &stop)));
    }
    let (gateway, path, admin) = (world.process, world.config.clone(), world.admin.clone());
    let (servers, ours) = (world.servers.clone(), Arc::clone(&stop));
    threads.push(thread::spawn(move || {
        for generation in 1u64.. {
            pause(Duration::from_millis(900), &ours);
            if is_over(&ours) {
                return;
            }
            std::fs::write(&path, config(&servers, generation))
                .expect("the temporary folder can be written to");
            match generation % 3 {
                0 => signal("HUP", gateway),
                1 => drop(ask(&admin, "POST", "/reload")),
                _ => take_out(&admin, &servers, generation),
            }
        }
    }));
    Chaos { stop, threads }
}

/// An endpoint is taken out for a while.
fn take_out(admin: &str, servers: &Servers, generation: u64) {
    let url = &servers.shaky[(generation % 2) as usize];
    for what in ["drain", "undrain"] {
        let _ = ask(admin, "POST", &format!("/endpoints/shaky/{what}?url=http://{url}"));
        thread::sleep(Duration::from_millis(100));
    }
}

/// A server that is killed, stays away for a while, and comes back.
fn die_and_return(address: &str, mut rng: Rng, stop: &AtomicBool) {
    while !is_over(stop) {
        let mut server = sim(address);
        pause(Duration::from_millis(1000 + rng.below(4000)), stop);
        end(&mut server);
        pause(Duration::from_millis(rng.below(1500)), stop);
    }
}

fn end(server: &mut Child) {
    let _ = (server.kill(), server.wait());
}

fn pause(time: Duration, stop: &AtomicBool) {
    let step = Duration::from_millis(50);
    for _ in 0..time.as_millis() / step.as_millis() {
        if is_over(stop) {
            return;
        }
        thread::sleep(step);
    }
}
