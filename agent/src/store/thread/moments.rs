//! What the ring knows of the boots of its machine.

use diskring::Storage;
use pipeline::clock::Learned;
use tokio::time::Instant;

use super::Store;

impl<S: Storage> Store<S> {
    /// Begins this boot of the machine in the ring, or goes on with it.
    pub(super) fn begin_boot(&mut self) {
        let clock = self.options.clock;
        self.books.begin_boot(&mut self.ring, clock.boot());
        let boots = self.books.boots();
        if let Some(boot) = boots.get(clock.boot().tag()) {
            clock.restore(boot);
        }
        if let Some(latest) = boots.latest() {
            clock.handle_earlier(latest);
        }
        self.boots.send_replace(boots);
        if let Some(learned) = clock.correction() {
            self.learn_boot(learned);
        }
    }

    /// Remembers the time of this boot, durable with the next sync.
    pub(super) fn learn_boot(&mut self, learned: Learned) {
        let boot = self.options.clock.boot();
        if self.books.learn_boot(&mut self.ring, boot, learned) {
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        self.boots.send_replace(self.books.boots());
    }
}
