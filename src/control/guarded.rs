//! What the control thread does is caught piece by piece: a panic costs the piece, and the gateway goes on.

use std::future::Future;
use std::pin::pin;

use super::state::Control;
use crate::base::limits::CONTROL_PANICS_MAX;
use crate::proxy::caught::caught;

impl Control {
    /// Does a piece of work; none if it panicked. Too many panics end the process, for a supervisor to start it anew.
    pub(super) async fn guarded<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let done = caught(pin!(work)).await.ok();
        if done.is_none() {
            self.panics.set(self.panics.get() + 1);
            if self.panics.get() > CONTROL_PANICS_MAX {
                self.end_with("the control thread panicked too often".to_owned());
            }
        }
        done
    }
}
