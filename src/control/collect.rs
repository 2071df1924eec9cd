//! When the merged view of all lanes is brought up to date.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::state::Control;
use crate::proxy::audit;

impl Control {
    /// Brings the merged view up to date.
    pub(super) async fn collect(&self) {
        self.collected.ask(&self.lanes).await;
    }

    /// Notes once a second where the counters stand.
    pub(super) async fn count_seconds(self: Rc<Self>) {
        loop {
            monoio::time::sleep(Duration::from_secs(1)).await;
            self.guarded(async {
                self.collect().await;
                self.collected.snapshot.borrow_mut().second_passed();
                self.mark();
                self.dump(Instant::now());
                self.busy.borrow_mut().look(Instant::now());
                // A lane whose inbox was full at a reload.
                self.publish();
                audit::left_over(&self.plan());
            })
            .await;
        }
    }
}
