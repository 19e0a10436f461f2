//! What the service manager is told, sd_notify(3).

use std::time::Duration;

use sd_notify::NotifyState;

/// Tells; that it cannot be told is logged, and nothing else depends on it.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "sd_notify({states:?})");
    }
}

/// The sockets are there.
pub(super) fn ready(listen: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("serves {listen}"))]);
}

/// The configuration is being read again; [`ready`] ends it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "clock_gettime(CLOCK_MONOTONIC)"),
    }
}

/// It ends.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says that the daemon lives, as long as its threads do: both those that answer calls and those that may wait for a disk. For ever,
/// or not at all where nobody asked for it (WatchdogSec=).
pub(super) async fn watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut ticks = tokio::time::interval((limit / 3).max(Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        if tokio::task::spawn_blocking(|| ()).await.is_ok() {
            tell(&[NotifyState::Watchdog]);
        }
    }
}
