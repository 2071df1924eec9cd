//! The life of the process after its start: reloads and the end.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::failure::RunError;
use super::signal::{Bytes, Signals};
use super::state::Control;
use crate::base::limits::DRAIN_IDLE_GRACE;
use crate::base::say;
use crate::lane::inbox::{Command, Queue};

/// How often it is looked whether the last connection ended.
const LOOK: Duration = Duration::from_millis(10);

impl Control {
    /// Serves until SIGTERM or SIGINT, then drains. A second signal ends the drain at once.
    pub(super) async fn run_until_told(self: &Rc<Self>, signals: Signals) -> Result<(), RunError> {
        let [stop, reload, reopen, replace] = signals.split();
        monoio::spawn(Rc::clone(self).reload_on(reload));
        monoio::spawn(Rc::clone(self).count_stops(stop));
        monoio::spawn(Rc::clone(self).reopen_on(reopen));
        monoio::spawn(Rc::clone(self).replace_on(replace));
        let mut outcome = Ok(());
        while self.stops.get() == 0 && !self.replaced.is_set() && outcome.is_ok() {
            outcome = self.fail_if_broken();
            if outcome.is_err() {
                say::error("a part of the gateway runs no more: the rest drains, then it exits with 1");
                break;
            }
            self.changed.wait().await;
            self.changed.clear();
        }
        self.drain().await;
        outcome.and_then(|()| self.fail_if_broken())
    }

    async fn count_stops(self: Rc<Self>, mut signals: Bytes) {
        while signals.next().await.is_ok() {
            self.stops.set(self.stops.get() + 1);
            self.changed.set();
        }
        self.end_with("signals cannot be heard any more".to_owned());
    }

    async fn reload_on(self: Rc<Self>, mut signals: Bytes) {
        while signals.next().await.is_ok() {
            self.guarded(Rc::clone(&self).reload_by_signal()).await;
        }
    }

    async fn reopen_on(self: Rc<Self>, mut signals: Bytes) {
        while signals.next().await.is_ok() {
            self.log.borrow().reopen();
        }
    }

    async fn drain(&self) {
        let told_again = || self.stops.get() > 1;
        let plan = self.plan();
        say::info("draining");
        let queue = match self.replaced.is_set() {
            true => {
                self.files.forget();
                Queue::Left
            }
            false => {
                self.draining.set(true);
                self.notify.stopping();
                let accept_until = Instant::now() + plan.server.drain_delay;
                while Instant::now() < accept_until && !told_again() {
                    monoio::time::sleep(LOOK).await;
                }
                // Before the queues are emptied, so that nobody joins one that no lane looks at any more; and early, so
                // that a successor may have the path while exchanges go on here.
                self.files.remove_listeners();
                Queue::Emptied
            }
        };
        self.heritage.take();
        let by = Instant::now() + plan.server.drain;
        for (position, lane) in self.lanes.iter().enumerate() {
            while !self.is_gone(position)
                && lane.tell(Command::Drain(queue)).is_err()
                && Instant::now() < by
                && !told_again()
            {
                monoio::time::sleep(LOOK).await;
            }
        }
        // Connections in accept queues are counted once their lane has emptied them: look at least once after.
        monoio::time::sleep(LOOK).await;
        while self.serves() && Instant::now() < by && !told_again() {
            monoio::time::sleep(LOOK).await;
        }
        if queue == Queue::Left {
            self.see_off_admin(by).await;
        }
    }

    /// A successor has the admin API: whoever connected before has a moment to ask, and is answered.
    async fn see_off_admin(&self, by: Instant) {
        let grace = Instant::now() + DRAIN_IDLE_GRACE;
        loop {
            let now = Instant::now();
            match self.places.in_use() {
                (true, is_answered) if now < if is_answered { by } else { grace } => {
                    monoio::time::sleep(LOOK).await;
                }
                _ => return,
            }
        }
    }
}

impl Control {
    pub(super) fn is_gone(&self, lane: usize) -> bool {
        self.gone.borrow()[lane]
    }

    /// Whether a lane that runs has a connection. Those of a lane that runs no more are cut, and counted for ever.
    fn serves(&self) -> bool {
        let connections = self.connections();
        match self.gone.borrow().contains(&true) {
            true => connections.iter().enumerate().any(|(lane, count)| *count > 0 && !self.is_gone(lane)),
            false => self.loads.total() > 0,
        }
    }
}
